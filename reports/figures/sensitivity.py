"""Sensitivity to a setting: performance over the values that a setting was given, or was tried with."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reports.figures import figure
from reports.figures.drawing import figure_of_panels, label_below, legend_above, logarithmic, prepare, wrapped
from reports.figures.palette import Look, line_handle, look
from reports.figures.plotted_methods import PlottedMethod, basis, documents, plotted_methods, seeds
from results.comparison import Comparison
from results.errors import InputError
from results.merge_trace import MethodIdentity, Trial
from results.metrics import average_from_tasks

_STATISTICS = {"average": "average", "worst_task": "worst task"}
_WIDE = 20
"""How many times the least value the greatest is where an axis is logarithmic."""

_DEFAULT = "default"
"""What is written where a method is not given the setting."""
_ASIDE = 0.25
"""How far beyond the numbers that stands, as a share of their range."""
_ACROSS = 40
"""Characters of words that stand side by side under a panel; more are turned."""
_PANEL = 3.3, 2.7
"""Inches."""


@dataclass
class _Line:
    """What one method gives at the values of the setting.

    Attributes:
        method: its name, and its protocol where that is many-shot.
        others: its other settings, and what else tells methods of one name apart.
        measured: on the benchmarks, by value of the setting.
        default: on the benchmarks where the setting is not given.
        tried: on validation data, by value and statistic; of several seeds all.
        chosen: by seed, who tried.
    """

    method: str
    others: Mapping[str, Any]
    measured: dict[float | str, PlottedMethod] = field(default_factory=dict)
    default: PlottedMethod | None = None
    tried: dict[float | str, dict[str, list[float]]] = field(default_factory=dict)
    chosen: dict[int | None, PlottedMethod] = field(default_factory=dict)

    @property
    def scored(self) -> list[PlottedMethod]:
        """All that was scored on the benchmarks."""
        return [*self.measured.values(), *([self.default] if self.default else [])]


@dataclass(frozen=True)
class _Axis:
    """The axis across.

    Attributes:
        place: where each value stands.
        default: where what is not given the setting stands; None where nothing is.
        numeric: whether the values are numbers, at their own places.
        wide: whether they are so far apart that the scale is logarithmic.
    """

    place: Mapping[float | str, float]
    default: float | None
    numeric: bool
    wide: bool


@figure("sensitivity", "average and worst task over the values of a setting", needs="setting")
def sensitivity(comparison: Comparison, setting: str | None) -> tuple[Figure, str]:
    """A line per method over the values of a setting: its average and its worst task, with 95 % intervals.

    Filled markers are checkpoints that were scored. Hollow ones are what was tried on validation data to
    choose the setting; where others were chosen with it, the best of them counts. What is not given
    the setting stands apart as "default", joined to nothing.

    Args:
        comparison: with several values of the setting.
        setting: of a method, such as `scaling`.

    Raises:
        InputError: no method has the setting with several values, or two rows that are not told apart have
            the same one.
    """
    lines = _lines(comparison, setting) if setting else []
    if not lines:
        known = _varied(comparison)
        what = f"no method has several values of '{setting}'" if setting else "name the setting (--setting)"
        there = (
            f"there are several of {', '.join(known)}" if known else "no method has several of any setting"
        )
        raise InputError(f"run {comparison.name}: {what}; {there}")
    axis = _axis(lines)
    words, size = _words(axis)
    drawn, all_axes = figure_of_panels(list(_STATISTICS.values()), 2, size, sharex=True, sharey=True)
    for axes, statistic in zip(all_axes, _STATISTICS, strict=True):
        _prepare(axes, axis, words)
        for index, line in enumerate(lines):
            _draw_measured(axes, line, statistic, axis, look(index))
            _draw_tried(axes, line, statistic, axis, look(index))
    all_axes[0].set_ylabel("normalised performance")
    missing = f"; {_DEFAULT}: not given" if axis.default is not None else ""
    label_below(drawn, f"{wrapped(str(setting), 60)} (dashed: the experts{missing})")
    legend_above(
        drawn, [*(line_handle(name, look(i)) for i, name in enumerate(_names(lines))), *_kinds(lines)]
    )
    return drawn, _basis(comparison, lines)


def _varied(comparison: Comparison) -> list[str]:
    """The settings that can be shown."""
    names = []
    for name in sorted({name for row in comparison.rows for name in row.entry.settings}):
        try:
            if _lines(comparison, name):
                names.append(name)
        except InputError:  # which asking for it would say
            continue
    return names


def _lines(comparison: Comparison, setting: str) -> list[_Line]:
    """Methods by all that tells them apart but this setting, those with several values of it."""
    lines: dict[str, _Line] = {}
    for plotted in plotted_methods(comparison, base=False):
        first = plotted.rows[0]
        method = f"{first.entry.method or first.label}{', many-shot' * (plotted.protocol == 'many-shot')}"
        settings = {name: value for name, value in first.entry.settings.items() if name != setting}
        others = _identified(first.entry.identity)
        key = json.dumps([method, settings, others], sort_keys=True)
        line = lines.setdefault(key, _Line(method, others | settings))
        value: Any = first.entry.settings.get(setting)
        if setting not in first.entry.settings:
            _refuse_second(line.default, plotted, f"no {setting}")
            line.default = plotted
        elif isinstance(value, int | float | str):
            _refuse_second(line.measured.get(_plain(value)), plotted, f"{setting} = {value}")
            line.measured[_plain(value)] = plotted
        else:
            _add_tried(line, plotted, comparison, setting)
    return [line for line in lines.values() if max(len(line.scored), len(line.tried)) > 1]


def _add_tried(line: _Line, method: PlottedMethod, comparison: Comparison, setting: str) -> None:
    for row in method.rows:
        tried = row.entry.trace.trials if row.entry.trace else ()
        if tried:
            _refuse_second(line.chosen.get(row.seed), method, f"a choice of {setting}")
            line.chosen[row.seed] = method
        for value, reached in _best(comparison, tried, setting).items():
            for name, number in reached.items():
                line.tried.setdefault(value, {}).setdefault(name, []).append(number)


def _refuse_second(first: PlottedMethod | None, second: PlottedMethod, what: str) -> None:
    if first is not None:
        raise InputError(
            f"'{first.rows[0].label}' and '{second.rows[0].label}' both have {what}, and nothing that a run "
            "notes tells them apart otherwise; show them in a run each"
        )


def _identified(identity: MethodIdentity | None) -> dict[str, Any]:
    """By name, what tells methods of one name apart beside their settings."""
    if identity is None:
        return {}
    about: dict[str, Any] = {"code": identity.code, "weighting": identity.weighting.get("name")}
    about |= {name: value for name, value in identity.weighting.items() if name != "name"}
    return about | {"space": identity.space, "objective": identity.objective}


def _best(
    comparison: Comparison, tried: Sequence[Trial], setting: str
) -> dict[float | str, dict[str, float]]:
    """By value of the setting the best of each statistic, of what was tried for all tasks."""
    counts = {task: len(benchmarks) for task, benchmarks in comparison.suite.tasks.items()}
    best: dict[float | str, dict[str, float]] = {}
    for trial in tried:
        value = trial.settings.get(setting)
        if set(trial.tasks) == set(counts) and isinstance(value, int | float | str):
            reached = {
                "average": average_from_tasks(trial.tasks, counts),
                "worst_task": min(trial.tasks.values()),
            }
            before = best.setdefault(_plain(value), reached)
            best[_plain(value)] = {name: max(before[name], reached[name]) for name in reached}
    return best


def _plain(value: bool | float | str) -> float | str:
    return str(value) if isinstance(value, bool | str) else float(value)


def _axis(lines: Sequence[_Line]) -> _Axis:
    """Numbers stand at themselves; where there are words all stand in a row, words last."""
    values = list(dict.fromkeys(value for line in lines for value in (*line.measured, *line.tried)))
    numbers = sorted(value for value in values if isinstance(value, float))
    numeric = len(numbers) == len(values)
    low, high = (numbers[0], numbers[-1]) if numbers else (0.0, 0.0)
    wide = numeric and low > 0 and high > _WIDE * low
    if numeric:
        place: dict[float | str, float] = {value: value for value in numbers}
        aside = high * (high / low) ** _ASIDE if wide else high + _ASIDE * ((high - low) or abs(high) or 1.0)
    else:
        ordered: list[float | str] = [*numbers, *(value for value in values if isinstance(value, str))]
        place = {value: float(at) for at, value in enumerate(ordered)}
        aside = float(len(ordered))
    has_default = any(line.default for line in lines)
    return _Axis(place, aside if has_default else None, numeric, wide)


def _names(lines: Sequence[_Line]) -> list[str]:
    """Methods, with the other settings in which lines of one method differ."""
    names = []
    for line in lines:
        same = [other for other in lines if other.method == line.method]
        differing = [
            name
            for name in dict.fromkeys(name for other in same for name in other.others)
            if len({json.dumps(other.others.get(name), sort_keys=True) for other in same}) > 1
        ]
        others = ", ".join(f"{name}={line.others[name]}" for name in differing if name in line.others)
        names.append(f"{line.method} ({others})" if others else line.method)
    return names


def _words(axis: _Axis) -> tuple[dict[float, str], tuple[float, float]]:
    """What stands under an axis that is not of numbers, by place, and the size of a panel that it fits."""
    if axis.numeric:
        return {}, _PANEL
    named = {at: value if isinstance(value, str) else f"{value:g}" for value, at in axis.place.items()}
    if axis.default is not None:
        named[axis.default] = _DEFAULT
    flat = max(map(len, named.values())) * len(named) <= _ACROSS
    words = {at: wrapped(name, 12 if flat else 28) for at, name in named.items()}
    if flat:
        return words, _PANEL
    lines = [line for name in words.values() for line in name.split("\n")]
    return words, (max(_PANEL[0], 0.14 * len(lines) + 0.8), _PANEL[1] + 0.065 * max(map(len, lines)))


def _prepare(axes: Axes, axis: _Axis, words: Mapping[float, str]) -> None:
    prepare(axes, 1)
    if words:
        turned = max(map(len, words.values())) * len(words) > _ACROSS
        axes.set_xticks(list(words), list(words.values()), fontsize=8, rotation=90 if turned else 0)
        return
    if axis.wide:
        logarithmic(axes)
    if axis.default is not None:
        low, high = min(axis.place.values()), max(axis.place.values())
        ticks = [
            tick for tick in axes.xaxis.get_major_locator().tick_values(low, high) if low <= tick <= high
        ]
        names = [*(f"{tick:g}" for tick in ticks), _DEFAULT]
        axes.set_xticks([*ticks, axis.default], names)


def _draw_measured(axes: Axes, line: _Line, statistic: str, axis: _Axis, own: Look) -> None:
    points = [(axis.place[value], method) for value, method in line.measured.items()]
    joined = sorted(
        (at, value) for at, method in points if (value := method.estimate(statistic).value) is not None
    )
    axes.plot([at for at, _ in joined], [value for _, value in joined], zorder=3, **own.line)
    if line.default is not None and axis.default is not None:
        points.append((axis.default, line.default))
        value = line.default.estimate(statistic).value
        if value is not None:
            axes.plot([axis.default], [value], zorder=3, **{**own.line, "linestyle": ""})
    for at, method in points:
        estimate, by_seed = method.estimate(statistic), method.of_seeds(statistic)
        if estimate.low is not None and estimate.high is not None:
            axes.plot([at, at], [estimate.low, estimate.high], color=own.colour, linewidth=1.0, alpha=0.6)
        axes.plot([at] * len(by_seed), by_seed, "_", color=own.colour, markersize=4, zorder=2)


def _draw_tried(axes: Axes, line: _Line, statistic: str, axis: _Axis, own: Look) -> None:
    points = sorted((axis.place[value], fmean(reached[statistic])) for value, reached in line.tried.items())
    style = {**own.line, "markerfacecolor": "white", "linestyle": ":"}
    axes.plot([at for at, _ in points], [value for _, value in points], zorder=2, **style)


def _kinds(lines: Sequence[_Line]) -> list[Line2D]:
    """What hollow markers are, where there are some."""
    if not any(line.tried for line in lines):
        return []
    hollow = Look("black", "o", "white", ":")
    handles = [Line2D([], [], label="tried on validation data", **hollow.line)]
    return [*handles, Line2D([], [], label="scored", **Look("black", "o", "black").line)]


def _basis(comparison: Comparison, lines: Sequence[_Line]) -> str:
    scored = [method for line in lines for method in line.scored]
    parts = [basis(comparison, scored)] if scored else []
    if tried := [len(line.chosen) for line in lines if line.tried]:
        n = documents(comparison.validation, "validation examples", "tasks")
        parts.append(f"Tried: {n}. {seeds(tried)}.")
    return " ".join(parts)
