"""Erasure: each method's tasks from the one it kept best to the one it erased most."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reports.figures import figure
from reports.figures.drawing import label_below, legend_above, panels, prepare
from reports.figures.palette import line_handle, looks, method_handles
from reports.figures.plotted_methods import PlottedMethod, basis, plotted_methods
from results.comparison import Comparison
from results.errors import InputError


@figure("erasure", "each method's tasks from the best to the worst")
def erasure_profiles(comparison: Comparison) -> tuple[Figure, str]:
    """A line per method over its own ranking of the tasks, best first; a panel for each protocol.

    A flat line loses all tasks alike, and one that falls pays for the first with the last. Of several seeds
    the means are ranked. Methods that lack a task are named under the figure.

    Raises:
        InputError: no checkpoint has a value for every task.
    """
    everything = plotted_methods(comparison)
    tasks = comparison.counted_tasks
    ranked = {method: _ranked(method, tasks) for method in everything}
    methods = [method for method in everything if ranked[method]]
    if not methods:
        raise InputError(f"run {comparison.name}: nothing to draw, because no checkpoint has all tasks")
    style = looks(methods)
    protocols = sorted({method.protocol for method in methods if not method.is_base}, reverse=True) or [""]
    values = [value for of_method in ranked.values() for value in of_method]
    drawn = Figure(figsize=(3.6 * len(protocols) + 0.4, 3.6), layout="constrained")
    all_axes = panels(drawn, len(protocols), len(protocols), sharex=True, sharey=True)
    span = max([1.0, *values]) - min([0.0, *values])
    all_axes[0].set_ylim(min([0.0, *values]) - 0.03 * span, max([1.0, *values]) + 0.05 * span)
    for axes, protocol in zip(all_axes, protocols, strict=True):
        prepare(axes, 1)
        axes.set_xlim(0.7, len(tasks) + 0.3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set_title(protocol)
        for method in methods:
            if method.is_base or method.protocol == protocol:
                axes.plot(range(1, len(tasks) + 1), ranked[method], **style[method.label].line)
    legend_above(drawn, method_handles(methods, line_handle))
    all_axes[0].set_ylabel("normalised performance")
    label_below(drawn, "rank of the task, best to worst (dashed: its expert)")
    footer = basis(comparison, methods, intervals=False, seed_marks="")
    if missing := [method.label for method in everything if method not in methods]:
        footer = f"Without all tasks: {', '.join(missing)}.\n{footer}"
    return drawn, footer


def _ranked(method: PlottedMethod, tasks: Sequence[str]) -> list[float]:
    """Performances from the best to the worst; none where one is not known."""
    known = [value for value in (method.estimate(task).value for task in tasks) if value is not None]
    return sorted(known, reverse=True) if len(known) == len(tasks) else []
