"""Grouped bars of normalised performance: a group for the average and for each task, a bar per method."""

from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
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
    reference_line,
    save,
    wrapped,
)
from reports.palette import BASE_COLOUR, Look, looks, method_handles
from reports.shown import Shown, basis, limits, shown
from reports.table_model import UNKNOWN
from results.comparison import Comparison

_WIDTH = 7.2
_MOST_BARS = 64
"""Bars and gaps side by side, so that each is wide enough to see its hatch."""
_WIDEST_BAR = 0.3
_GAP, _GAP_SHARE = 1.5, 0.12
"""Least room between groups, in bars, and as a share of a group."""


def grouped_bars(comparison: Comparison, out: Path) -> Path:
    """Bars with 95 % intervals, in as many lines of groups as their number asks for.

    The base is grey; the dashed line at 1 is the expert of the task. Of several seeds there are small marks.

    Args:
        comparison: what to show.
        out: the figure's file; its suffix says the format: .png, .pdf or .svg.

    Raises:
        InputError: another suffix, or no base and no merged checkpoint to show.
    """
    check_suffix(out)
    drawn = shown(comparison)
    style = looks(drawn)
    groups = ["average", *comparison.counted_tasks]
    each = len(drawn) + max(_GAP, _GAP_SHARE * len(drawn))
    lines = -(-len(groups) * each // _MOST_BARS)
    per_line = -(-len(groups) // int(lines))
    parts = [groups[start : start + per_line] for start in range(0, len(groups), per_line)]
    bars = per_line * each
    estimates = {name: [one.estimate(name) for one in drawn] for name in groups}
    seen = [number for name in groups for one in drawn for number in one.of_seeds(name)]
    low, high = limits([one for group in estimates.values() for one in group], seen)
    with rc_context(STYLE):
        figure = Figure(
            figsize=(min(_WIDTH, 1.2 + _WIDEST_BAR * bars), 2.1 * len(parts)), layout="constrained"
        )
        for axes, part in zip(panels(figure, len(parts), 1), parts, strict=True):
            _prepare(axes)
            axes.set_ylabel("normalised performance")
            gap = each - len(drawn)
            axes.set(xlim=(-gap / 2 - 0.5, bars - gap / 2 - 0.5), ylim=(min(low, 0.0), high))
            middles = []
            for number, name in enumerate(part):
                start = number * each
                middles.append(start + (len(drawn) - 1) / 2)
                for place, one in enumerate(drawn):
                    _draw_bar(axes, start + place, one, name, style[one.label])
            axes.set_xticks(middles, [wrapped(name, int(11 * _WIDTH / per_line)) for name in part])
        handles = method_handles(drawn, lambda name, look: Patch(label=name, **_filled(look)))
        legend_above(figure, [*handles, reference_line("expert of the task")])
        label_below(figure, "average over benchmarks, and tasks")
        return save(figure, out, basis(comparison, drawn))


def _prepare(axes: Axes) -> None:
    axes.axhline(1, color=REFERENCE, linewidth=0.9, linestyle=DASHED, zorder=3)
    axes.axhline(0, color=REFERENCE, linewidth=0.8, zorder=3)
    axes.grid(axis="y", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="x", length=0)
    axes.spines["bottom"].set_visible(False)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))


def _draw_bar(axes: Axes, at: float, one: Shown, name: str, look: Look) -> None:
    estimate = one.estimate(name)
    if estimate.value is None:
        axes.text(at, 0, UNKNOWN, ha="center", va="bottom", fontsize=7, color=BASE_COLOUR)
        return
    axes.bar(at, estimate.value, width=0.92, linewidth=0.7, zorder=2, **_filled(look))
    if estimate.low is not None and estimate.high is not None:
        axes.plot([at, at], [estimate.low, estimate.high], color="black", linewidth=0.9, zorder=4)
    each = one.of_seeds(name)
    axes.plot([at] * len(each), each, "_", color="black", markersize=3, markeredgewidth=0.7, zorder=4)


def _filled(look: Look) -> dict[str, Any]:
    """What a bar is filled with: post-hoc is hollow where the figure also shows many-shot."""
    edge = look.colour if look.fill == "white" else "white"
    return {"facecolor": look.fill, "edgecolor": edge, "hatch": look.hatch}
