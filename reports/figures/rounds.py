"""Figures of merging in rounds: what each round kept of every task, and what the merge saw and did."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reports.figures import figure
from reports.figures.drawing import (
    REFERENCE,
    draw_curves,
    figure_of_panels,
    label_below,
    legend_above,
    prepare,
    reference_line,
)
from reports.figures.palette import line_handle, look, looks
from reports.figures.plotted_methods import PlottedMethod, basis, documents, plotted_methods, seeds
from results.comparison import Comparison, ComparisonRow
from results.errors import InputError
from results.merge_trace import SignalTrace

_PANELS_PER_LINE = 3
_ALONE = 3
"""Most methods whose weights and gaps have a line of their own."""
_ONCE: Any = (0, (1.5, 1.5))
_LEAST: Any = (0, (6, 1.5, 1.5, 1.5))


@figure("rounds", "each task over the rounds, by method")
def performance_over_rounds(comparison: Comparison) -> tuple[Figure, str]:
    """Erasure and recovery: a panel for the average and for each task, a line per many-shot method.

    Round 0 is the base; the dashed line at 1 is the task's expert, and the dotted ones are the same methods
    merged once. With several seeds thin lines are seeds, and the thick one their mean.

    Raises:
        InputError: a run without rounds, or without what they led to.
    """
    groups = _groups(comparison)
    own_looks = looks(plotted_methods(comparison))
    style = {method.title: own_looks[method.label] for method in _many_shot(comparison, groups)}
    names = ["average", *comparison.counted_tasks]
    base = comparison.base
    has_once = False
    drawn, all_axes = _panels(names)
    all_axes[0].title.set_fontweight("bold")
    for axes, name in zip(all_axes, names, strict=True):
        for title, runs in groups.items():
            draw_curves(axes, [_reached(base, rows, name) for rows in runs], style[title])
            once = _merged_once(comparison, runs[0][0], name)
            if once is not None:
                has_once = True
                axes.axhline(once, color=style[title].colour, linewidth=1.1, linestyle=_ONCE, zorder=1.5)
    handles = [*(line_handle(name, style[name]) for name in groups), reference_line("expert")]
    once_line = Line2D([], [], color=REFERENCE, linestyle=_ONCE, label="merged once")
    legend_above(drawn, [*handles, *[once_line] * has_once])
    return drawn, _rests_on(comparison, groups)


@figure("erasure-rounds", "each method's tasks over the rounds")
def tasks_over_rounds(comparison: Comparison) -> tuple[Figure, str]:
    """Erasure by method: a panel per many-shot method, a line per task over the rounds.

    Raises:
        InputError: a run without rounds, or without what they led to.
    """
    groups = _groups(comparison)
    base = comparison.base
    tasks = {task: look(index) for index, task in enumerate(comparison.counted_tasks)}
    drawn, all_axes = _panels(list(groups))
    for axes, runs in zip(all_axes, groups.values(), strict=True):
        for task, own in tasks.items():
            draw_curves(axes, [_reached(base, rows, task) for rows in runs], own)
    legend_above(drawn, [*(line_handle(*named) for named in tasks.items()), reference_line("expert")])
    return drawn, _rests_on(comparison, groups)


@figure("weights", "weights of tasks over the rounds, and the gaps they came from")
def weights_over_rounds(comparison: Comparison) -> tuple[Figure, str]:
    """Weights of every task over the rounds, and what they came from, side by side for each method.

    Of a method with a consensus mask the dash-dotted line is the least weight with which a task's mask holds
    an entry that all tasks agree on, and the title says which share of the weighted sum's norm the mask kept.

    Raises:
        InputError: a run without rounds, or no method weighs its tasks by a signal.
    """
    every_group = _groups(comparison)
    signals = {name: signal for name, runs in every_group.items() if (signal := _signal(runs[0][0]))}
    groups = {name: every_group[name] for name in signals}
    if not groups:
        raise InputError(f"run {comparison.name}: nothing to draw, because no method weighs by a signal")
    tasks = {task: look(index) for index, task in enumerate(comparison.suite.tasks)}
    titles = [title for name, runs in groups.items() for title in (name, _kept_by_mask(runs))]
    drawn, all_axes = figure_of_panels(titles, 2 if len(groups) <= _ALONE else 4, sharex=True)
    thresholds = {name: _mask_thresholds(runs) for name, runs in groups.items()}
    for number, (name, runs) in enumerate(groups.items()):
        weights, of_signal = all_axes[2 * number : 2 * number + 2]
        signal = signals[name]
        prepare(weights, 1 / len(tasks))
        weights.set_ylabel("weight α")
        for least in thresholds[name]:
            weights.axhline(least, color=REFERENCE, linewidth=0.9, linestyle=_LEAST, zorder=1)
        prepare(of_signal, signal.reference)
        of_signal.set_ylabel(signal.label)
        for task, own in tasks.items():
            draw_curves(weights, [_weights(rows, task) for rows in runs], own)
            draw_curves(of_signal, [_signal_values(rows, task) for rows in runs], own)
    usual = dict.fromkeys(signal.reference_label for signal in signals.values())
    handles = [line_handle(*named) for named in tasks.items()]
    handles.append(reference_line(f"equal weights; {', '.join(usual)}"))
    if any(thresholds.values()):
        label = "least weight for the mask to keep what all tasks agree on"
        handles.append(Line2D([], [], color=REFERENCE, linewidth=0.9, linestyle=_LEAST, label=label))
    legend_above(drawn, handles)
    label_below(drawn, "round")
    counted = seeds([len(runs) for runs in groups.values()], "thin lines")
    return drawn, f"{documents(comparison.validation, 'validation examples', 'tasks')}. {counted}."


def _mask_thresholds(runs: Sequence[Sequence[ComparisonRow]]) -> list[float]:
    """The least weights with which masks hold what all tasks agree on."""
    traces = [row.entry.trace for rows in runs for row in rows if row.entry.trace]
    return sorted({value for trace in traces for value in trace.mask_thresholds.values()})


def _kept_by_mask(runs: Sequence[Sequence[ComparisonRow]]) -> str:
    """Which share of the weighted sum's norm the masks kept, over rounds and seeds."""
    norms = [row.entry.trace.mask_norm for rows in runs for row in rows if row.entry.trace]
    kept = [norm for norm in norms if norm is not None]
    return f"mask kept {min(kept):.2f} to {max(kept):.2f} of the sum's norm over rounds" if kept else ""


def weighs_by_a_signal(comparison: Comparison) -> bool:
    """Whether a method's tasks were weighed by a signal in rounds."""
    return any(map(_signal, comparison.rounds))


def _signal(row: ComparisonRow) -> SignalTrace | None:
    return row.entry.trace.signal if row.entry.trace else None


def _weights(rows: Sequence[ComparisonRow], task: str) -> list[tuple[int, float]]:
    return [(_round_index(row), row.entry.trace.weights[task]) for row in rows if row.entry.trace]


def _signal_values(rows: Sequence[ComparisonRow], task: str) -> list[tuple[int, float]]:
    """Round, and the number that the task's weight came from."""
    return [(_round_index(row), signal.values[task]) for row in rows if (signal := _signal(row))]


def _panels(names: Sequence[str]) -> tuple[Figure, list[Axes]]:
    """Panels of normalised performance over the rounds, with the expert's line."""
    drawn, all_axes = figure_of_panels(names, _PANELS_PER_LINE, sharex=True, sharey=True)
    for axes in all_axes:
        prepare(axes, 1)
    for axes in all_axes[::_PANELS_PER_LINE]:
        axes.set_ylabel("normalised\nperformance")
    label_below(drawn, "round (0: the base)")
    return drawn, all_axes


def _groups(comparison: Comparison) -> dict[str, list[list[ComparisonRow]]]:
    """By method, the rounds of each of its seeds."""
    by_method: dict[str, dict[int | None, list[ComparisonRow]]] = {}
    for row in comparison.rounds:
        by_method.setdefault(row.title, {}).setdefault(row.seed, []).append(row)
    if not by_method:
        raise InputError(f"run {comparison.name}: nothing to draw, because nothing was merged in rounds")
    merged = {row.title for row in comparison.rows if row.protocol == "many-shot"}
    if lost := [name for name in by_method if name not in merged]:
        raise InputError(
            f"run {comparison.name}: rounds without the merged checkpoint that they led to: {', '.join(lost)}"
        )
    return {name: list(of_seeds.values()) for name, of_seeds in by_method.items()}


def _many_shot(comparison: Comparison, groups: Mapping[str, object]) -> list[PlottedMethod]:
    """The merged checkpoints that the rounds led to."""
    return [
        method
        for method in plotted_methods(comparison)
        if method.title in groups and method.protocol == "many-shot"
    ]


def _reached(
    base: ComparisonRow | None, rounds: Sequence[ComparisonRow], panel: str
) -> list[tuple[int, float]]:
    """Round and performance, from the base on, where it is known."""
    points = [(0, base), *((_round_index(row), row) for row in rounds)]
    values = [(index, _performance(row, panel)) for index, row in points if row is not None]
    return [(index, value) for index, value in values if value is not None]


def _performance(row: ComparisonRow, panel: str) -> float | None:
    return row.average.value if panel == "average" else row.tasks[panel].value


def _merged_once(comparison: Comparison, like: ComparisonRow, panel: str) -> float | None:
    """The mean over seeds of the same method's post-hoc merge, where there is one."""
    rows = [
        row
        for row in comparison.rows
        if row.protocol == "post-hoc"
        and row.entry.identity is not None
        and row.entry.identity == like.entry.identity
    ]
    values = [value for value in (_performance(row, panel) for row in rows) if value is not None]
    return fmean(values) if values else None


def _round_index(row: ComparisonRow) -> int:
    return row.entry.round_index or 0


def _rests_on(comparison: Comparison, groups: Mapping[str, object]) -> str:
    return basis(comparison, _many_shot(comparison, groups), intervals=False, seed_marks="thin lines")
