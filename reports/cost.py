"""Cost against score: seconds, and memory of the merge, of every method and its average performance."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reports.drawing import GRID, STYLE, check_suffix, logarithmic, panels, save
from reports.palette import BASE_COLOUR, Look, looks
from reports.points import Point, draw_points, name_or_list
from reports.shown import Shown, basis, numbers, shown
from results.comparison import Comparison, Row
from results.errors import InputError
from results.merge_trace import MergeTrace

_MIB = 2**20
_NAMED = 10
_TRAIN = "train"
_PHASES = ("signals", "choose", "learn", "merge")
_WIDE = 8
"""How many times the least the greatest is where an axis is logarithmic."""
_BASE: Any = {"color": BASE_COLOUR, "linewidth": 1.0, "linestyle": ":"}


@dataclass(frozen=True)
class Cost:
    """What a checkpoint cost.

    Attributes:
        seconds: by phase, over all of its rounds.
        in_rounds: whether it trained experts of its own after each merge.
        memory: most bytes that a merge of it took; None where that is not known.
    """

    seconds: dict[str, float]
    memory: float | None
    in_rounds: bool = False

    @property
    def own(self) -> float:
        """Seconds of all but training."""
        return sum(number for phase, number in self.seconds.items() if phase != _TRAIN)

    @property
    def train(self) -> float:
        """Seconds of training."""
        return self.seconds.get(_TRAIN, 0.0)


def cost_of(row: Row, rounds: Sequence[Row]) -> Cost:
    """What a merged checkpoint cost, as its run notes it.

    Args:
        row: the checkpoint.
        rounds: all rounds of the run, of which its own count.
    """
    own = [one.trace or MergeTrace() for one in rounds if one.leads_to == row.label]
    own = own or [row.trace or MergeTrace()]
    seconds: dict[str, float] = {}
    for trace in own:
        for phase, number in trace.seconds.items():
            seconds[phase] = seconds.get(phase, 0.0) + number
    memory = [trace.memory for trace in own if trace.memory]
    return Cost(seconds, max(memory) if len(memory) == len(own) else None, row.protocol == "many-shot")


def cost_against_score(comparison: Comparison, out: Path) -> Path:
    """Points with 95 % intervals: average performance over seconds and, where it is known, over memory.

    Seconds are of the phases that differ between methods, such as signals, choice of settings, learning and
    merging, over all rounds. Training has a panel of the methods that train in rounds; what is merged once
    shares its experts with others of its kind, whose training is told under the figure. Memory is of merging
    alone. The dotted line is the base, which costs nothing.

    Args:
        comparison: what to show. Methods whose cost or average is not known are named under the figure.
        out: the figure's file; its suffix says the format: .png, .pdf or .svg.

    Raises:
        InputError: another suffix, or no merged checkpoint has both.
    """
    check_suffix(out)
    methods = shown(comparison, base=False)
    costs = {one: [cost_of(row, comparison.rounds) for row in one.rows] for one in methods}
    drawn = [
        one
        for one in methods
        if one.estimate("average").value is not None
        and all(sum(cost.seconds.values()) for cost in costs[one])
    ]
    if not drawn:
        raise InputError(
            f"run {comparison.name}: nothing to draw, because no merged checkpoint has an average and the "
            "seconds that it took, which `manyshot run` notes"
        )
    noted = {name for one in drawn for cost in costs[one] for name, time in cost.seconds.items() if time}
    noted -= {_TRAIN}
    phases = [*(name for name in _PHASES if name in noted), *sorted(noted - set(_PHASES))]
    spent = {f"seconds ({', '.join(phases)})": {one: [cost.own for cost in costs[one]] for one in drawn}}
    if trained := {
        one: [cost.train for cost in costs[one]]
        for one in drawn
        if all(cost.in_rounds and cost.train for cost in costs[one])
    }:
        spent["seconds (train, over all rounds)"] = trained
    memory = {one: [cost.memory / _MIB for cost in costs[one] if cost.memory] for one in drawn}
    if weighed := {one: of for one, of in memory.items() if len(of) == len(one.rows)}:
        spent["memory of a merge, MiB"] = weighed
    with rc_context(STYLE):
        figure = Figure(
            figsize=(max(4.4, 3.6 * len(spent)), 3.3), dpi=STYLE["savefig.dpi"], layout="constrained"
        )
        found = panels(figure, len(spent), len(spent), sharey=True)
        points = []
        for axes, (label, of) in zip(found, spent.items(), strict=True):
            points.append(_points(of, looks(methods)))
            _prepare(axes, comparison, [value for values in of.values() for value in values])
            axes.set_xlabel("\n".join(textwrap.wrap(label, 44)))
            draw_points(axes, points[-1])
        found[0].set_ylabel("average normalised performance")
        name_or_list(found, points, drawn, [_base()] if _level(comparison) is not None else [], most=_NAMED)
        footer = f"{basis(comparison, drawn)}{_shared(costs[one] for one in drawn)}"
        missing = [one.label for one in methods if one not in drawn]
        if missing:
            footer = f"Without an average, or without seconds: {', '.join(missing)}.\n{footer}"
        return save(figure, out, footer)


def _shared(costs: Iterable[Sequence[Cost]]) -> str:
    """How long the experts were trained that methods merged once share; nothing where none did."""
    found = [cost.train for of in costs for cost in of if cost.train and not cost.in_rounds]
    if not found:
        return ""
    told = " to ".join(dict.fromkeys(f"{seconds:,.0f}" for seconds in (min(found), max(found))))
    return f" Training of the experts, which methods merged once share, took {told} s."


def _points(spent: Mapping[Shown, Sequence[float]], style: Mapping[str, Look]) -> list[Point]:
    return [
        Point(
            one.label,
            style[one.label],
            [fmean(values)],
            numbers(one.estimate("average")),
            list(zip(values, one.of_seeds("average"), strict=True)) if len(values) > 1 else [],
        )
        for one, values in spent.items()
    ]


def _prepare(axes: Axes, comparison: Comparison, spent: Sequence[float]) -> None:
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
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
    return next((row.average.value for row in comparison.rows if row.role == "base"), None)


def _base() -> Line2D:
    return Line2D([], [], label="base", **_BASE)
