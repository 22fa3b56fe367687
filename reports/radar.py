"""Radars of normalised performance by task: one for each method, both protocols in one, over the base."""

from collections.abc import Sequence
from math import isnan, nan, pi, sin
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from reports.drawing import (
    DASHED,
    GRID,
    REFERENCE,
    STYLE,
    check_suffix,
    figure_of_panels,
    keyed,
    label_below,
    legend_above,
    reference_line,
    save,
)
from reports.palette import BASE, Look, looks, protocol_handles
from reports.shown import Shown, basis, shown
from results.comparison import Comparison
from results.errors import InputError

_PANELS_PER_LINE = 3
_LONGEST = 13
_LEAST_TASKS = 3


def radars(comparison: Comparison, out: Path) -> Path:
    """A radar per method with a spoke per task; the dashed circle at 1 is the expert of each task.

    A line is broken where a task has no value. Of several seeds the mean is drawn.

    Args:
        comparison: what to show.
        out: the figure's file; its suffix says the format: .png, .pdf or .svg.

    Raises:
        InputError: another suffix, no merged checkpoint, less than three tasks, or no value of any.
    """
    check_suffix(out)
    tasks = comparison.counted_tasks
    if len(tasks) < _LEAST_TASKS:
        raise InputError(
            f"run {comparison.name}: a radar needs three tasks, and {len(tasks)} count; show bars or tasks"
        )
    methods = shown(comparison, base=False)
    drawn = shown(comparison)
    style = looks(drawn)
    titles = list(dict.fromkeys(one.title for one in methods))
    spokes, key = keyed(tasks, _LONGEST)
    known = [value for one in drawn for value in _values(one, tasks) if not isnan(value)]
    if not known:
        raise InputError(f"run {comparison.name}: nothing to draw, because no checkpoint has a task's value")
    angles = [2 * pi * place / len(tasks) for place in range(len(tasks))]
    polar = {"projection": "polar", "theta_offset": pi / 2, "theta_direction": -1}
    with rc_context(STYLE):
        figure, found = figure_of_panels(titles, _PANELS_PER_LINE, (2.9, 2.1), subplot_kw=polar)
        for panel, title in zip(found, titles, strict=True):
            axes: Any = panel  # a polar one
            axes.set_ylim(min(0.0, *known), max(1.05, *known))
            axes.set_xticks(angles)
            axes.tick_params(axis="x", pad=1)
            for spoke, label in zip(angles, axes.set_xticklabels(spokes, fontsize=7.5), strict=True):
                label.set_horizontalalignment(_side(spoke))
            axes.yaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]))
            axes.tick_params(axis="y", labelsize=6.5, labelcolor=REFERENCE)
            axes.set_rlabel_position(180 / len(tasks))  # between the first two spokes
            axes.grid(color=GRID, linewidth=0.6)
            axes.spines["polar"].set_visible(False)
            for one in drawn:
                if one.is_base or one.title == title:
                    _draw(axes, _values(one, tasks), style[one.label])
            circle = [2 * pi * step / 120 for step in range(121)]
            axes.plot(circle, [1.0] * len(circle), color=REFERENCE, linewidth=0.9, linestyle=DASHED)
        label_below(figure, "spokes: normalised performance by task")
        legend_above(figure, _handles(drawn))
        return save(figure, out, key + basis(comparison, drawn, intervals=False, each=""))


def _side(angle: float) -> str:
    """How a spoke's name is aligned, by the spoke's angle clockwise from the top."""
    across = sin(angle)
    return "center" if abs(across) < 0.1 else "left" if across > 0 else "right"


def _values(one: Shown, tasks: Sequence[str]) -> list[float]:
    found = [one.estimate(task).value for task in tasks]
    return [nan if value is None else value for value in found]


def _draw(axes: Any, values: Sequence[float], look: Look) -> None:
    angles = [2 * pi * place / len(values) for place in range(len(values) + 1)]
    axes.plot(angles, [*values, values[0]], clip_on=False, **_line(look))


def _line(look: Look) -> dict[str, Any]:
    """The base is thin and dotted; one line of a panel is of a hollow look, the other of a filled one."""
    if look == BASE:
        return {**look.line, "linewidth": 1.0, "linestyle": ":", "markersize": 2.5, "zorder": 2}
    return {**look.line, "linestyle": "--" if look.fill == "white" else "-", "markersize": 4, "zorder": 3}


def _handles(drawn: Sequence[Shown]) -> list[Artist]:
    """What a legend says: methods have their names over their radars."""
    found = protocol_handles(drawn, lambda name, look: Line2D([], [], label=name, **_line(look)))
    if any(one.is_base for one in drawn):
        found.append(Line2D([], [], label="base", **_line(BASE)))
    return [*found, reference_line("expert of the task")]
