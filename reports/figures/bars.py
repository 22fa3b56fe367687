"""Grouped bars of normalised performance: a group for the average and for each task, a bar per method."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from reports.colours import BASE_COLOUR
from reports.figures import figure
from reports.figures.drawing import (
    REFERENCE,
    label_below,
    legend_above,
    panels,
    prepare,
    reference_line,
    wrapped,
)
from reports.figures.palette import Look, looks, method_handles
from reports.figures.plotted_methods import PlottedMethod, basis, limits, plotted_methods
from reports.table_model import UNKNOWN
from results.comparison import Comparison

_WIDTH = 7.2
_MOST_BARS = 64
"""Bars and gaps side by side, so that each is wide enough to see its hatch."""
_WIDEST_BAR = 0.3
_GAP, _GAP_SHARE = 1.5, 0.12
"""Least room between groups, in bars, and as a share of a group."""


@figure("bars", "performance by task and method, as grouped bars")
def grouped_bars(comparison: Comparison) -> tuple[Figure, str]:
    """Bars with 95 % intervals, in as many lines of groups as their number asks for.

    The base is grey; the dashed line at 1 is the expert of the task. Of several seeds there are small marks.

    Raises:
        InputError: no base and no merged checkpoint to show.
    """
    methods = plotted_methods(comparison)
    style = looks(methods)
    groups = ["average", *comparison.counted_tasks]
    gap = max(_GAP, _GAP_SHARE * len(methods))
    group_width = len(methods) + gap
    per_line = -(-len(groups) // int(-(-len(groups) * group_width // _MOST_BARS)))
    lines = [groups[start : start + per_line] for start in range(0, len(groups), per_line)]
    bars = per_line * group_width
    low, high = limits(
        [method.estimate(name) for name in groups for method in methods],
        [number for name in groups for method in methods for number in method.of_seeds(name)],
    )
    drawn = Figure(figsize=(min(_WIDTH, 1.2 + _WIDEST_BAR * bars), 2.1 * len(lines)), layout="constrained")
    for axes, line in zip(panels(drawn, len(lines), 1), lines, strict=True):
        prepare(axes, 1, along="y")
        axes.axhline(0, color=REFERENCE, linewidth=0.8, zorder=3)
        axes.set_ylabel("normalised performance")
        axes.set(xlim=(-gap / 2 - 0.5, bars - gap / 2 - 0.5), ylim=(min(low, 0.0), high))
        for number, name in enumerate(line):
            for place, method in enumerate(methods):
                _draw_bar(axes, number * group_width + place, method, name, style[method.label])
        middles = [number * group_width + (len(methods) - 1) / 2 for number in range(len(line))]
        axes.set_xticks(middles, [wrapped(name, int(11 * _WIDTH / per_line)) for name in line])
    handles = method_handles(methods, lambda name, look: Patch(label=name, **_filled(look)))
    legend_above(drawn, [*handles, reference_line("expert of the task")])
    label_below(drawn, "average over benchmarks, and tasks")
    return drawn, basis(comparison, methods)


def _draw_bar(axes: Axes, at: float, method: PlottedMethod, name: str, look: Look) -> None:
    estimate = method.estimate(name)
    if estimate.value is None:
        axes.text(at, 0, UNKNOWN, ha="center", va="bottom", fontsize=7, color=BASE_COLOUR)
        return
    axes.bar(at, estimate.value, width=0.92, linewidth=0.7, zorder=2, **_filled(look))
    if estimate.low is not None and estimate.high is not None:
        axes.plot([at, at], [estimate.low, estimate.high], color="black", linewidth=0.9, zorder=4)
    by_seed = method.of_seeds(name)
    axes.plot([at] * len(by_seed), by_seed, "_", color="black", markersize=3, markeredgewidth=0.7, zorder=4)


def _filled(look: Look) -> dict[str, Any]:
    """What a bar is filled with: post-hoc is hollow where the figure also shows many-shot."""
    edge = look.colour if look.fill == "white" else "white"
    return {"facecolor": look.fill, "edgecolor": edge, "hatch": look.hatch}
