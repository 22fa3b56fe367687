"""Radars of normalised performance by task: one for each method, both protocols in one, over the base."""

from collections.abc import Sequence
from math import isnan, nan, pi, sin
from typing import Any

from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from reports.figures import figure
from reports.figures.drawing import (
    DASHED,
    GRID,
    REFERENCE,
    figure_of_panels,
    keyed,
    label_below,
    legend_above,
    reference_line,
)
from reports.figures.palette import BASE, Look, looks, protocol_handles
from reports.figures.plotted_methods import PlottedMethod, basis, plotted_methods
from results.comparison import Comparison
from results.errors import InputError

_PANELS_PER_LINE = 3
_LONGEST = 13
_LEAST_TASKS = 3


@figure("radar", "performance by task, a radar for each method")
def radars(comparison: Comparison) -> tuple[Figure, str]:
    """A radar per method with a spoke per task; the dashed circle at 1 is the expert of each task.

    A line is broken where a task has no value. Of several seeds the mean is drawn.

    Raises:
        InputError: no merged checkpoint, less than three tasks, or no value of any.
    """
    tasks = comparison.counted_tasks
    if len(tasks) < _LEAST_TASKS:
        raise InputError(
            f"run {comparison.name}: a radar needs three tasks, and {len(tasks)} count; show bars or tasks"
        )
    titles = list(dict.fromkeys(method.title for method in plotted_methods(comparison, base=False)))
    methods = plotted_methods(comparison)
    values = {method: _values(method, tasks) for method in methods}
    known = [value for of_method in values.values() for value in of_method if not isnan(value)]
    if not known:
        raise InputError(f"run {comparison.name}: nothing to draw, because no checkpoint has a task's value")
    style = looks(methods)
    spokes, key = keyed(tasks, _LONGEST)
    angles = [2 * pi * place / len(tasks) for place in range(len(tasks))]
    polar = {"projection": "polar", "theta_offset": pi / 2, "theta_direction": -1}
    drawn, all_axes = figure_of_panels(titles, _PANELS_PER_LINE, (2.9, 2.1), subplot_kw=polar)
    for panel, title in zip(all_axes, titles, strict=True):
        axes: Any = panel  # a polar one
        axes.set_ylim(min(0.0, *known), max(1.05, *known))
        axes.set_xticks(angles)
        axes.tick_params(axis="x", pad=1)
        for angle, label in zip(angles, axes.set_xticklabels(spokes, fontsize=7.5), strict=True):
            across = sin(angle)
            side = "center" if abs(across) < 0.1 else "left" if across > 0 else "right"
            label.set_horizontalalignment(side)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]))
        axes.tick_params(axis="y", labelsize=6.5, labelcolor=REFERENCE)
        axes.set_rlabel_position(180 / len(tasks))  # between the first two spokes
        axes.grid(color=GRID, linewidth=0.6)
        axes.spines["polar"].set_visible(False)
        for method in methods:
            if method.is_base or method.title == title:
                closed = [*values[method], values[method][0]]
                axes.plot([*angles, 2 * pi], closed, clip_on=False, **_line(style[method.label]))
        circle = [2 * pi * step / 120 for step in range(121)]
        axes.plot(circle, [1.0] * len(circle), color=REFERENCE, linewidth=0.9, linestyle=DASHED)
    label_below(drawn, "spokes: normalised performance by task")
    legend_above(drawn, _handles(methods))
    return drawn, key + basis(comparison, methods, intervals=False, seed_marks="")


def _values(method: PlottedMethod, tasks: Sequence[str]) -> list[float]:
    values = [method.estimate(task).value for task in tasks]
    return [nan if value is None else value for value in values]


def _line(look: Look) -> dict[str, Any]:
    """The base is thin and dotted; one line of a panel is of a hollow look, the other of a filled one."""
    if look == BASE:
        return {**look.line, "linewidth": 1.0, "linestyle": ":", "markersize": 2.5, "zorder": 2}
    return {**look.line, "linestyle": "--" if look.fill == "white" else "-", "markersize": 4, "zorder": 3}


def _handles(methods: Sequence[PlottedMethod]) -> list[Artist]:
    """What a legend says: methods have their names over their radars."""
    handles = protocol_handles(methods, lambda name, look: Line2D([], [], label=name, **_line(look)))
    if any(method.is_base for method in methods):
        handles.append(Line2D([], [], label="base", **_line(BASE)))
    return [*handles, reference_line("expert of the task")]
