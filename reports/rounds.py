"""Figures of merging in rounds: what each round kept of every task, and what the merge saw and did."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from reports.drawing import GRID, REFERENCE, STYLE, check_suffix, save
from reports.palette import COLOURS, MARKERS
from reports.sheet import printable
from results.comparison import Comparison, Row
from results.errors import InputError

_PANELS_PER_ROW = 3
_Curve = Sequence[tuple[int, float]]


def performance_over_rounds(comparison: Comparison, out: Path) -> Path:
    """Erasure and recovery: a panel for the average and for each task, a line per many-shot method.

    Round 0 is the base; the dashed line at 1 is the task's expert, and the dotted ones are the same methods
    merged once. With several seeds thin lines are seeds, and the thick one their mean.

    Args:
        comparison: of a run with rounds.
        out: the figure's file; its suffix says the format: .png, .pdf or .svg.

    Raises:
        InputError: another suffix, or a run without rounds.
    """
    check_suffix(out)
    groups = _groups(comparison)
    panels = ["average", *comparison.counted_tasks]
    columns = min(len(panels), _PANELS_PER_ROW)
    lines = -(-len(panels) // columns)
    has_once = False
    base = next((row for row in comparison.rows if row.role == "base"), None)
    with rc_context(STYLE):
        figure = Figure(figsize=(2.5 * columns + 0.4, 2.1 * lines + 0.7), layout="constrained")
        grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for axes, panel in zip(grid, panels, strict=False):
            _prepare(axes, printable(panel), bold=panel == "average")
            axes.axhline(1, color=REFERENCE, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
            for index, runs in enumerate(groups.values()):
                colour = COLOURS[index % len(COLOURS)]
                curves = [_reached(base, rows, panel) for rows in runs]
                _draw(axes, curves, colour, MARKERS[index % len(MARKERS)])
                once = _merged_once(comparison, runs[0][0], panel)
                if once is not None:
                    has_once = True
                    axes.axhline(once, color=colour, linewidth=1.1, linestyle=(0, (1.5, 1.5)), zorder=1.5)
        for axes in grid[len(panels) :]:
            axes.set_visible(False)
        handles = [_handle(name, index) for index, name in enumerate(groups)]
        handles += [_line("expert", (4, 3))] + [_line("merged once", (1.5, 1.5))] * has_once
        figure.legend(handles=handles, loc="outside upper center", ncols=min(4, len(handles)), frameon=False)
        figure.supxlabel(f"round (0: the base){_seeds(groups)}", fontsize=9)
        figure.supylabel("normalised performance", fontsize=9)
        return save(figure, out)


_SIGNALS = {"gaps": "loss gap", "divergences": "divergence", "normalised": "NP before the round"}
"""What weighs tasks, as a round notes it, and how it is called."""


def weights_over_rounds(comparison: Comparison, out: Path) -> Path:
    """Weights of every task over the rounds, and what they came from, a column per method that weighs tasks.

    Args:
        comparison: of a run with rounds.
        out: the figure's file; its suffix says the format: .png, .pdf or .svg.

    Raises:
        InputError: another suffix, or no method weighs its tasks by a signal.
    """
    check_suffix(out)
    groups = {name: runs for name, runs in _groups(comparison).items() if signal_of(runs[0][0])}
    if not groups:
        raise InputError(f"run {comparison.name}: nothing to draw, because no method weighs by a signal")
    tasks = list(comparison.suite.tasks)
    with rc_context(STYLE):
        figure = Figure(figsize=(3.2 * len(groups) + 0.6, 4.6), layout="constrained")
        grid = figure.subplots(2, len(groups), sharex=True, squeeze=False)
        for column, (name, runs) in enumerate(groups.items()):
            signal = signal_of(runs[0][0])
            for line, (what, kind) in enumerate({"weight α": "weights", _SIGNALS[signal]: signal}.items()):
                axes = grid[line][column]
                _prepare(axes, printable(name) if line == 0 else "")
                axes.set_ylabel(what)
                usual = 1 / len(tasks) if kind == "weights" else float(kind == "normalised")
                axes.axhline(usual, color=REFERENCE, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
                for index, task in enumerate(tasks):
                    curves = [[(_turn(row), _number(row, kind, task)) for row in rows] for rows in runs]
                    _draw(axes, curves, COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)])
        handles = [_handle(task, index) for index, task in enumerate(tasks)]
        handles.append(_line("equal, or no gap", (4, 3)))
        figure.legend(handles=handles, loc="outside upper center", ncols=min(3, len(handles)), frameon=False)
        figure.supxlabel(f"round{_seeds(groups)}", fontsize=9)
        return save(figure, out)


def signal_of(row: Row) -> str:
    """What weighed the tasks of a round, as the round notes it; empty where they were equal."""
    return next((name for name in _SIGNALS if row.measured.get(name)), "")


def _groups(comparison: Comparison) -> dict[str, list[list[Row]]]:
    """By method, the rounds of each of its seeds."""
    found: dict[str, dict[int | None, list[Row]]] = {}
    for row in comparison.rounds:
        found.setdefault(row.title, {}).setdefault(row.seed, []).append(row)
    if not found:
        raise InputError(f"run {comparison.name}: nothing to draw, because nothing was merged in rounds")
    return {name: list(seeds.values()) for name, seeds in found.items()}


def _reached(base: Row | None, rounds: Sequence[Row], panel: str) -> list[tuple[int, float]]:
    """Round and performance, from the base on, where it is known."""
    points = [(0, base), *((_turn(row), row) for row in rounds)]
    found = [(turn, _performance(row, panel)) for turn, row in points if row is not None]
    return [(turn, value) for turn, value in found if value is not None]


def _performance(row: Row, panel: str) -> float | None:
    return row.average.value if panel == "average" else row.tasks[panel].value


def _merged_once(comparison: Comparison, like: Row, panel: str) -> float | None:
    """The mean over seeds of the same method's post-hoc merge, where there is one."""
    rows = [
        row
        for row in comparison.rows
        if row.protocol == "post-hoc" and row.pair is not None and row.pair == like.pair
    ]
    values = [value for value in (_performance(row, panel) for row in rows) if value is not None]
    return fmean(values) if values else None


def _turn(row: Row) -> int:
    return row.turn or 0


def _number(row: Row, kind: str, task: str) -> float:
    values: Any = row.measured[kind]
    return float(values[task])


def _prepare(axes: Axes, title: str, bold: bool = False) -> None:
    axes.set_title(title, weight="bold" if bold else "normal")
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))


def _draw(axes: Axes, curves: Sequence[_Curve], colour: str, marker: str) -> None:
    if len(curves) > 1:
        for curve in curves:
            axes.plot(*zip(*curve, strict=True), color=colour, linewidth=0.7, alpha=0.35, zorder=2)
    at: dict[int, list[float]] = {}
    for curve in curves:
        for turn, value in curve:
            at.setdefault(turn, []).append(value)
    turns = sorted(at)
    means = [fmean(at[turn]) for turn in turns]
    axes.plot(turns, means, color=colour, marker=marker, markersize=4, linewidth=1.5, zorder=3)


def _handle(name: str, index: int) -> Line2D:
    style = {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)]}
    return Line2D([], [], markersize=4, linewidth=1.5, label=printable(name), **style)  # type: ignore[arg-type]


def _line(label: str, dashes: tuple[float, float]) -> Line2D:
    return Line2D([], [], color=REFERENCE, linestyle=(0, dashes), label=label)


def _seeds(groups: Mapping[str, Sequence[Sequence[Row]]]) -> str:
    count = max(len(runs) for runs in groups.values())
    return f"; thin: {count} seeds" if count > 1 else ""
