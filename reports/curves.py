"""Curves over rounds or steps: a mean with a thin line per seed, and how their panels look."""

from collections.abc import Sequence
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from reports.drawing import DASHED, GRID, REFERENCE
from reports.palette import Look

Curve = Sequence[tuple[int, float]]
_MARKED = 12
"""Most markers of a curve."""


def prepare(axes: Axes, reference: float | None = None) -> None:
    """Give a panel a grid, whole numbers across, and a dashed line of reference."""
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
    if reference is not None:
        axes.axhline(reference, color=REFERENCE, linewidth=0.9, linestyle=DASHED, zorder=1)


def draw_curves(axes: Axes, curves: Sequence[Curve], look: Look) -> None:
    """Draw the mean of some seeds' curves, and each of them thin where there are several."""
    if len(curves) > 1:
        for curve in curves:
            axes.plot(*zip(*curve, strict=True), color=look.colour, linewidth=0.7, alpha=0.35, zorder=2)
    at: dict[int, list[float]] = {}
    for curve in curves:
        for place, value in curve:
            at.setdefault(place, []).append(value)
    places = sorted(at)
    every = -(-len(places) // _MARKED)
    axes.plot(places, [fmean(at[place]) for place in places], markevery=every or None, zorder=3, **look.line)
