"""Coefficient by merging partner: what each task's learned coefficient is beside each other task."""

from collections.abc import Iterable, Sequence
from statistics import fmean

from matplotlib.figure import Figure

from reports.figures import figure
from reports.figures.coefficients import learned_inputs, learned_of
from reports.figures.drawing import keyed, label_below
from reports.figures.heat import NAME, draw_map, maps
from reports.figures.plotted_methods import documents, plotted_methods, seeds
from results.comparison import Comparison
from results.errors import InputError
from results.merge_trace import LearnedCoefficients

_BAR = 3.0
"""Inches of the longest bar of colours."""


@figure("partners", "each task's learned coefficient beside each other task", needs="runs")
def coefficients_by_partner(comparisons: Sequence[Comparison]) -> tuple[Figure, str]:
    """The coefficient of each task beside each other task that it was merged with alone; a map per method.

    Runs of two tasks count. Of several layers, and of several seeds, it is their mean (DivMerge,
    arXiv 2509.02108, Figure 9).

    Raises:
        InputError: no method learned coefficients of two tasks.
    """
    runs: dict[str, list[list[LearnedCoefficients]]] = {}
    for comparison in comparisons:
        for method in plotted_methods(comparison, base=False):
            learned = learned_of(method)
            if learned and len(comparison.suite.tasks) == 2:
                runs.setdefault(method.label, []).append(learned)
    if not runs:
        raise InputError(
            "nothing to draw: of the runs that were given none is of two tasks with coefficients that a "
            "method learned; an experiment with `subsets: [2]` makes them"
        )
    everything = [learned for pairs in runs.values() for by_seed in pairs for learned in by_seed]
    tasks = list(dict.fromkeys(task for learned in everything for task in learned.tasks))
    of_methods = {label: _by_partner(pairs) for label, pairs in runs.items()}
    values = [value for known in of_methods.values() for value in known.values()]
    names, key = keyed(tasks, NAME)
    drawn, found_axes = maps(list(runs), names, names)
    for axes, known in zip(found_axes, of_methods.values(), strict=True):
        rows = [[known.get((task, partner)) for partner in tasks] for task in tasks]
        image = draw_map(axes, rows, names, names, (min(values), max(values)))
    shrink = min(0.8, _BAR / drawn.get_figheight())
    drawn.colorbar(image, ax=found_axes, shrink=shrink, label="coefficient Γ")
    label_below(drawn, "merged with")
    drawn.supylabel("task", fontsize=9)
    n = documents(learned_inputs(everything), "inputs that were learned from", "tasks")
    counted = seeds([len(by_seed) for pairs in runs.values() for by_seed in pairs])
    most = max(map(len, runs.values()))
    return drawn, f"{key}{most} pair{'s' * (most > 1)}. {n}. {counted}."


def _by_partner(pairs: Iterable[Sequence[LearnedCoefficients]]) -> dict[tuple[str, str], float]:
    """By task and partner the coefficient, of each pair the mean over layers and seeds."""
    coefficients = {}
    for of_seeds in pairs:
        one, two = of_seeds[0].tasks
        for task, partner in ((one, two), (two, one)):
            coefficients[task, partner] = fmean(
                fmean(learned.coefficients[learned.tasks.index(task)]) for learned in of_seeds
            )
    return coefficients
