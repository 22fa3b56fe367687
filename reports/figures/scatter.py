"""Points with intervals in two directions, and the figure of average against worst task."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reports.figures import figure
from reports.figures.drawing import DASHED, REFERENCE, legend_above, prepare, reference_line
from reports.figures.palette import Look, looks, marker_handle, method_handles
from reports.figures.plotted_methods import basis, limits, numbers, plotted_methods
from results.comparison import Comparison
from results.errors import InputError


@dataclass(frozen=True)
class Point:
    """A point of a method.

    Attributes:
        look: how it is drawn.
        x: its value, then the bounds of its interval where they are known.
        y: likewise.
        each: the same of each seed, where there are several.
    """

    look: Look
    x: Sequence[float]
    y: Sequence[float]
    each: Sequence[tuple[float, float]] = ()


def draw_points(axes: Axes, points: Sequence[Point]) -> None:
    """Draw points over their intervals, and small ones for their seeds."""
    for point in points:
        look = point.look
        lines = (
            (point.x[1:], [point.y[0]] * len(point.x[1:])),
            ([point.x[0]] * len(point.y[1:]), point.y[1:]),
        )
        for across, up in lines:
            axes.plot(
                across, up, color=look.colour, linewidth=1.1, alpha=0.55, zorder=2, solid_capstyle="butt"
            )
        for x, y in point.each:
            axes.plot(x, y, ".", color=look.colour, markersize=3, alpha=0.7, zorder=2)
        axes.plot(
            point.x[:1],
            point.y[:1],
            look.marker,
            color=look.colour,
            markerfacecolor=look.fill,
            markersize=7,
            markeredgewidth=1.4,
        )


@figure("worst-task", "average against worst task")
def average_against_worst(comparison: Comparison) -> tuple[Figure, str]:
    """One point per merged checkpoint and the base: its average against its worst task, with 95 % intervals.

    On the dashed diagonal the worst task is as good as the average; no point lies above it. Checkpoints
    without an average are named under the figure.

    Raises:
        InputError: no base and no merged checkpoint to show.
    """
    everything = plotted_methods(comparison)
    methods = [method for method in everything if method.estimate("worst_task").value is not None]
    if not methods:
        raise InputError(f"run {comparison.name}: nothing to draw, because no checkpoint has an average")
    style = looks(everything)
    drawn = Figure(figsize=(5.6, 5.6), layout="constrained")
    axes = drawn.subplots()
    low, high = limits([method.estimate(name) for method in methods for name in ("average", "worst_task")])
    prepare(axes)
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    axes.set_xlabel("average normalised performance")
    axes.set_ylabel("normalised performance of the worst task")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=7, steps=[1, 2, 2.5, 5, 10]))
    axes.plot([low, high], [low, high], color=REFERENCE, linewidth=0.9, linestyle=DASHED, zorder=1.5)
    draw_points(
        axes,
        [
            Point(
                style[method.label],
                numbers(method.estimate("average")),
                numbers(method.estimate("worst_task")),
                list(zip(method.of_seeds("average"), method.of_seeds("worst_task"), strict=True)),
            )
            for method in methods
        ],
    )
    legend_above(drawn, [*method_handles(methods, marker_handle), reference_line("worst task = average")])
    drawn.draw_without_rendering()  # panels of equal aspect need two layouts to leave room for their labels
    footer = basis(comparison, methods)
    if missing := [method.label for method in everything if method not in methods]:
        footer = f"Without an average: {', '.join(missing)}.\n{footer}"
    return drawn, footer
