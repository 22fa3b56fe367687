"""Sensitivity to a setting: performance over the values that a setting was given, or was tried with."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from reports.drawing import (
    DASHED,
    GRID,
    REFERENCE,
    STYLE,
    check_suffix,
    figure_of_panels,
    label_below,
    legend_above,
    logarithmic,
    save,
    wrapped,
)
from reports.palette import Look, line_handle, look
from reports.shown import Shown, basis, documents, seeds, shown
from results.comparison import Comparison
from results.errors import InputError
from results.metrics import average_from_tasks

_STATISTICS = {"average": "average", "worst_task": "worst task"}
_WIDE = 20
"""How many times the least value the greatest is where an axis is logarithmic."""

_DEFAULT = "default"
"""Stands for the value where a method is not given the setting."""

Value = float | str


@dataclass
class _Line:
    """What one method gives at the values of the setting.

    Attributes:
        method: its name, and its protocol where that is many-shot.
        others: its other settings.
        measured: on the benchmarks, by value of the setting.
        tried: on validation data, by value and statistic; of several seeds all.
        seeds: how many tried.
    """

    method: str
    others: Mapping[str, Any]
    measured: dict[Value, Shown] = field(default_factory=dict)
    tried: dict[Value, dict[str, list[float]]] = field(default_factory=dict)
    seeds: int = 0


def sensitivity(comparison: Comparison, setting: str | None, out: Path) -> Path:
    """A line per method over the values of a setting: its average and its worst task, with 95 % intervals.

    Filled markers are checkpoints that were scored. Hollow ones are what was tried on validation data to
    choose the setting; where others were chosen with it, the best of them counts.

    Args:
        comparison: with several values of the setting.
        setting: of a method, such as `scaling`.
        out: the figure's file; its suffix says the format: .png, .pdf or .svg.

    Raises:
        InputError: another suffix, or no method has the setting with several values.
    """
    check_suffix(out)
    lines = _lines(comparison, setting) if setting else []
    if not lines:
        known = sorted({name for row in comparison.rows for name in row.settings if _lines(comparison, name)})
        what = f"no method has several values of '{setting}'" if setting else "name the setting to show"
        there = (
            f"there are several of {', '.join(known)}" if known else "no method has several of any setting"
        )
        raise InputError(f"run {comparison.name}: {what}; {there}")
    values = list(dict.fromkeys(value for line in lines for value in (*line.measured, *line.tried)))
    place = _places(values)
    names = _names(lines)
    with rc_context(STYLE):
        figure, found = figure_of_panels(list(_STATISTICS.values()), 2, (3.3, 2.7), sharex=True, sharey=True)
        for axes, statistic in zip(found, _STATISTICS, strict=True):
            _prepare(axes, values, place)
            for index, line in enumerate(lines):
                _draw_measured(axes, line, statistic, place, look(index))
                _draw_tried(axes, line, statistic, place, look(index))
        found[0].set_ylabel("normalised performance")
        label_below(figure, f"{wrapped(str(setting), 60)} (dashed: the experts)")
        legend_above(figure, [*(line_handle(name, look(i)) for i, name in enumerate(names)), *_kinds(lines)])
        return save(figure, out, _basis(comparison, lines))


def _lines(comparison: Comparison, setting: str) -> list[_Line]:
    """Methods by their other settings, those with several values of this one."""
    found: dict[str, _Line] = {}
    for one in shown(comparison, base=False):
        first = one.rows[0]
        others = {name: value for name, value in first.settings.items() if name != setting}
        method = f"{first.method or first.label}{', many-shot' * (one.protocol == 'many-shot')}"
        line = found.setdefault(json.dumps([method, others], sort_keys=True), _Line(method, others))
        value: Any = first.settings.get(setting, _DEFAULT)
        if isinstance(value, int | float | str):
            line.measured[_plain(value)] = one
            continue
        for row in one.rows:
            tried: Any = row.measured.get("tried") or []
            line.seeds += bool(tried)
            for value, reached in _best(comparison, tried, setting).items():
                for name, number in reached.items():
                    line.tried.setdefault(value, {}).setdefault(name, []).append(number)
    return [line for line in found.values() if max(len(line.measured), len(line.tried)) > 1]


def _best(
    comparison: Comparison, tried: Sequence[Mapping[str, Any]], setting: str
) -> dict[Value, dict[str, float]]:
    """By value of the setting the best of each statistic, of what was tried for all tasks."""
    counts = {task: len(of) for task, of in comparison.suite.tasks.items()}
    found: dict[Value, dict[str, float]] = {}
    for one in tried:
        value = one["settings"].get(setting)
        if set(one["tasks"]) != set(counts) or not isinstance(value, int | float | str):
            continue
        reached = {
            "average": average_from_tasks(one["tasks"], counts),
            "worst_task": min(one["tasks"].values()),
        }
        best = found.setdefault(_plain(value), reached)
        found[_plain(value)] = {name: max(best[name], reached[name]) for name in reached}
    return found


def _plain(value: bool | float | str) -> Value:
    return str(value) if isinstance(value, bool | str) else float(value)


def _places(values: Sequence[Value]) -> dict[Value, float]:
    """Where on the axis each value stands: numbers at themselves; else one after the other, words last."""
    if all(isinstance(value, float) for value in values):
        return {value: float(value) for value in values}
    numbers = sorted(value for value in values if isinstance(value, float))
    ordered: list[Value] = [*numbers, *(value for value in values if isinstance(value, str))]
    return {value: float(place) for place, value in enumerate(ordered)}


def _names(lines: Sequence[_Line]) -> list[str]:
    """Methods, with the other settings in which lines of one method differ."""
    names = []
    for line in lines:
        same = [one for one in lines if one.method == line.method]
        differing = [
            name
            for name in dict.fromkeys(name for one in same for name in one.others)
            if len({json.dumps(one.others.get(name), sort_keys=True) for one in same}) > 1
        ]
        told = ", ".join(f"{name}={line.others[name]}" for name in differing if name in line.others)
        names.append(f"{line.method} ({told})" if told else line.method)
    return names


def _named(value: Value) -> str:
    return wrapped(value, 12) if isinstance(value, str) else f"{value:g}"


def _prepare(axes: Axes, values: Sequence[Value], place: Mapping[Value, float]) -> None:
    axes.axhline(1, color=REFERENCE, linewidth=0.9, linestyle=DASHED, zorder=1)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    if not all(isinstance(value, float) for value in values):
        axes.set_xticks(list(place.values()), [_named(value) for value in place], fontsize=8)
    elif min(place.values()) > 0 and max(place.values()) > _WIDE * min(place.values()):
        logarithmic(axes)


def _draw_measured(axes: Axes, line: _Line, statistic: str, place: Mapping[Value, float], own: Look) -> None:
    points = [
        (place[value], one.estimate(statistic), one.of_seeds(statistic))
        for value, one in line.measured.items()
    ]
    known = sorted((at, one.value) for at, one, _ in points if one.value is not None)
    axes.plot([at for at, _ in known], [value for _, value in known], zorder=3, **own.line)
    for at, estimate, each in points:
        if estimate.low is not None and estimate.high is not None:
            axes.plot([at, at], [estimate.low, estimate.high], color=own.colour, linewidth=1.0, alpha=0.6)
        axes.plot([at] * len(each), each, "_", color=own.colour, markersize=4, zorder=2)


def _draw_tried(axes: Axes, line: _Line, statistic: str, place: Mapping[Value, float], own: Look) -> None:
    known = sorted((place[value], fmean(reached[statistic])) for value, reached in line.tried.items())
    style = {**own.line, "markerfacecolor": "white", "linestyle": ":"}
    axes.plot([at for at, _ in known], [value for _, value in known], zorder=2, **style)


def _kinds(lines: Sequence[_Line]) -> list[Line2D]:
    """What hollow markers are, where there are some."""
    if not any(line.tried for line in lines):
        return []
    hollow = Look("black", "o", "white", ":")
    found = [Line2D([], [], label="tried on validation data", **hollow.line)]
    return [*found, Line2D([], [], label="scored", **Look("black", "o", "black").line)]


def _basis(comparison: Comparison, lines: Sequence[_Line]) -> str:
    scored = [one for line in lines for one in line.measured.values()]
    parts = [basis(comparison, scored)] if scored else []
    if tried := [line.seeds for line in lines if line.tried]:
        n = documents(comparison.validation, "validation examples", "tasks")
        parts.append(f"Tried: {n}. {seeds(tried)}.")
    return " ".join(parts)
