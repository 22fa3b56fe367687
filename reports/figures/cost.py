"""Cost against score: seconds, and memory of the merge, of every method and its average performance."""

import textwrap
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reports.colours import BASE_COLOUR
from reports.figures import figure
from reports.figures.drawing import legend_above, logarithmic, panels, prepare
from reports.figures.palette import Look, looks, marker_handle, method_handles
from reports.figures.plotted_methods import PlottedMethod, basis, numbers, plotted_methods
from reports.figures.scatter import Point, draw_points
from reports.merge_cost import MIB, TRAIN, Cost, cost_of
from results.comparison import Comparison
from results.errors import InputError

_PHASES = ("signals", "choose", "learn", "merge")
_WIDE = 8
"""How many times the least the greatest is where an axis is logarithmic."""
_BASE: Any = {"color": BASE_COLOUR, "linewidth": 1.0, "linestyle": ":"}


@figure("cost", "average against seconds, and against memory")
def cost_against_score(comparison: Comparison) -> tuple[Figure, str]:
    """Points with 95 % intervals: average performance over seconds and, where it is known, over memory.

    Seconds are of the phases that differ between methods, such as signals, choice of settings, learning and
    merging, over all rounds. Training has a panel of the methods that train in rounds; what is merged once
    shares its experts with others of its kind, whose training is named under the figure. Memory is of merging
    alone. The dotted line is the base, which costs nothing. Methods whose cost or average is not known are
    named under the figure.

    Raises:
        InputError: no merged checkpoint has both.
    """
    everything = plotted_methods(comparison, base=False)
    costs = {method: [cost_of(row, comparison.rounds) for row in method.rows] for method in everything}
    methods = [
        method
        for method in everything
        if method.estimate("average").value is not None
        and all(sum(cost.seconds.values()) for cost in costs[method])
    ]
    if not methods:
        raise InputError(
            f"run {comparison.name}: nothing to draw, because no merged checkpoint has an average and the "
            "seconds that it took, which `manyshot run` notes"
        )
    measured = {name for m in methods for cost in costs[m] for name, time in cost.seconds.items() if time}
    measured -= {TRAIN}
    phases = [*(name for name in _PHASES if name in measured), *sorted(measured - set(_PHASES))]
    spent = {
        f"seconds ({', '.join(phases)})": {method: [cost.own for cost in costs[method]] for method in methods}
    }
    if trained := {
        method: [cost.train for cost in costs[method]]
        for method in methods
        if all(cost.in_rounds and cost.train for cost in costs[method])
    }:
        spent["seconds (train, over all rounds)"] = trained
    memory = {m: [cost.memory / MIB for cost in costs[m] if cost.memory] for m in methods}
    if whole := {method: values for method, values in memory.items() if len(values) == len(method.rows)}:
        spent["memory of a merge, MiB"] = whole
    drawn = Figure(figsize=(max(4.4, 3.6 * len(spent)), 3.3), layout="constrained")
    axes_of_panels = panels(drawn, len(spent), len(spent), sharey=True)
    style = looks(everything)
    for axes, (label, of_methods) in zip(axes_of_panels, spent.items(), strict=True):
        _prepare(axes, comparison, [value for values in of_methods.values() for value in values])
        axes.set_xlabel("\n".join(textwrap.wrap(label, 44)))
        draw_points(
            axes, [_point(method, values, style[method.label]) for method, values in of_methods.items()]
        )
    axes_of_panels[0].set_ylabel("average normalised performance")
    base = [Line2D([], [], label="base", **_BASE)] if _level(comparison) is not None else []
    legend_above(drawn, [*method_handles(methods, marker_handle), *base])
    footer = f"{basis(comparison, methods)}{_shared(costs[method] for method in methods)}"
    if missing := [method.label for method in everything if method not in methods]:
        footer = f"Without an average, or without seconds: {', '.join(missing)}.\n{footer}"
    return drawn, footer


def _shared(costs: Iterable[Sequence[Cost]]) -> str:
    """How long the experts were trained that methods merged once share; nothing where none did."""
    trained = [cost.train for of_seeds in costs for cost in of_seeds if cost.train and not cost.in_rounds]
    if not trained:
        return ""
    span = " to ".join(dict.fromkeys(f"{seconds:,.0f}" for seconds in (min(trained), max(trained))))
    return f" Training of the experts, which methods merged once share, took {span} s."


def _point(method: PlottedMethod, values: Sequence[float], look: Look) -> Point:
    by_seed = list(zip(values, method.of_seeds("average"), strict=True)) if len(values) > 1 else []
    return Point(look, [fmean(values)], numbers(method.estimate("average")), by_seed)


def _prepare(axes: Axes, comparison: Comparison, spent: Sequence[float]) -> None:
    prepare(axes)
    axes.margins(0.12)
    if 0 < min(spent) * _WIDE < max(spent):
        logarithmic(axes)
    else:
        axes.set_xlim(0, 1.15 * max(spent) or 1.0)
    level = _level(comparison)
    if level is not None:
        axes.axhline(level, **_BASE)


def _level(comparison: Comparison) -> float | None:
    """The average of the base."""
    return comparison.base.average.value if comparison.base else None
