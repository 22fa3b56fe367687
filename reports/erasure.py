"""Erasure: each method's tasks from the one it kept best to the one it erased most."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reports.drawing import (
    DASHED,
    GRID,
    REFERENCE,
    STYLE,
    check_suffix,
    label_below,
    legend_above,
    panels,
    save,
)
from reports.ends import can_be_named, name_ends
from reports.palette import line_handle, looks, method_handles
from reports.shown import Shown, basis, shown
from results.comparison import Comparison
from results.errors import InputError

_HEIGHT = 3.6
_LINE = 0.19


def erasure_profiles(comparison: Comparison, out: Path) -> Path:
    """A line per method over its own ranking of the tasks, best first; a panel for each protocol.

    A flat line loses all tasks alike, and one that falls pays for the first with the last. Of several seeds
    the means are ranked.

    Args:
        comparison: what to show. Methods that lack a task are named under the figure.
        out: the figure's file; its suffix says the format: .png, .pdf or .svg.

    Raises:
        InputError: another suffix, or no checkpoint has a value for every task.
    """
    check_suffix(out)
    everything = shown(comparison)
    ranked = {one.label: _ranked(one, comparison.counted_tasks) for one in everything}
    drawn = [one for one in everything if ranked[one.label]]
    if not drawn:
        raise InputError(f"run {comparison.name}: nothing to draw, because no checkpoint has all tasks")
    style = looks(drawn)
    protocols = sorted({one.protocol for one in drawn if not one.is_base}, reverse=True) or [""]
    names = [one.label for one in drawn]
    values = [value for found in ranked.values() for value in found]
    with rc_context(STYLE):
        tall = max(_HEIGHT, _LINE * -(-len(drawn) // len(protocols)) + 0.6)
        figure = Figure(
            figsize=(3.6 * len(protocols) + 0.4, tall), dpi=STYLE["savefig.dpi"], layout="constrained"
        )
        found = panels(figure, len(protocols), len(protocols), sharex=True, sharey=True)
        span = max([1.0, *values]) - min([0.0, *values])
        found[0].set_ylim(min([0.0, *values]) - 0.03 * span, max([1.0, *values]) + 0.05 * span)
        for axes, protocol in zip(found, protocols, strict=True):
            _prepare(axes, len(comparison.counted_tasks))
            axes.set_title(protocol)
            lines = [one for one in drawn if one.is_base or one.protocol == protocol]
            for one in lines:
                axes.plot(range(1, len(ranked[one.label]) + 1), ranked[one.label], **style[one.label].line)
            if can_be_named(names):
                ends = [ranked[one.label][-1] for one in lines]
                name_ends(axes, _plain(lines), ends, [style[one.label].colour for one in lines])
        if not can_be_named(names):
            legend_above(figure, method_handles(drawn, line_handle))
        found[0].set_ylabel("normalised performance")
        label_below(figure, "rank of the task, best to worst (dashed: its expert)")
        footer = basis(comparison, drawn, intervals=False, each="")
        missing = [one.label for one in everything if one not in drawn]
        if missing:
            footer = f"Without all tasks: {', '.join(missing)}.\n{footer}"
        return save(figure, out, footer)


def _ranked(one: Shown, tasks: Sequence[str]) -> list[float]:
    """Performances from the best to the worst; none where one is not known."""
    known = [value for value in (one.estimate(task).value for task in tasks) if value is not None]
    return sorted(known, reverse=True) if len(known) == len(tasks) else []


def _plain(lines: Sequence[Shown]) -> list[str]:
    """Names without the protocol, which is the panel's title."""
    return [one.label.removesuffix(f", {one.protocol}") for one in lines]


def _prepare(axes: Axes, tasks: int) -> None:
    axes.axhline(1, color=REFERENCE, linewidth=0.9, linestyle=DASHED, zorder=1)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlim(0.7, tasks + 0.3)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
