"""The two figures of a comparison: performance by task and method, and average against worst task."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import AutoMinorLocator, MaxNLocator

from reports.drawing import GRID, REFERENCE, STYLE, check_suffix, save
from reports.labels import Box, leader, place_labels
from reports.palette import BASE_COLOUR, Look, looks
from reports.sheet import UNKNOWN, printable
from results.comparison import Comparison, Estimate, Row
from results.errors import InputError

_PANELS_PER_ROW = 5
_LEADER = "#8A8A8A"


def normalised_performance(comparison: Comparison, out: Path) -> Path:
    """Dots with 95 % intervals: one panel for the average and one per task, one line per method.

    The base is grey; the dashed line at 1 is the expert of the task.

    Args:
        comparison: what to show.
        out: the figure's file; its suffix says the format: .png, .pdf or .svg.

    Returns:
        `out`.

    Raises:
        InputError: another suffix, or no base and no merged checkpoint to show.
    """
    rows = _shown(comparison, out)
    panels = ["average", *comparison.counted_tasks]
    columns = min(len(panels), _PANELS_PER_ROW)
    lines = -(-len(panels) // columns)
    style = looks(rows)
    with rc_context(STYLE):
        names = 0.075 * max(len(row.label) for row in rows)
        height = (0.24 * len(rows) + 0.75) * lines + 0.35
        figure = Figure(figsize=(names + 0.4 + 1.55 * columns, height), layout="constrained")
        grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for axes, panel in zip(grid, panels, strict=False):
            _draw_panel(
                axes, rows, [row.average if panel == "average" else row.tasks[panel] for row in rows], style
            )
            axes.set_title(printable(panel), weight="bold" if panel == "average" else "normal")
        for axes in grid[len(panels) :]:
            axes.set_visible(False)
        first = grid[0]
        first.set_yticks(range(len(rows)), [printable(row.label) for row in rows])
        first.set_ylim(len(rows) - 0.5, -0.5)
        estimates = [
            row.average if panel == "average" else row.tasks[panel] for row in rows for panel in panels
        ]
        low, high = _range(estimates)
        # From 0 in every figure, to compare figures; from further left only for what is negative.
        negative = any(number < 0 for one in estimates for number in _numbers(one))
        first.set_xlim(low if negative else 0.0, high)
        first.xaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10]))
        first.xaxis.set_minor_locator(AutoMinorLocator(2))
        hollow = "; hollow: post-hoc, filled: many-shot" if len(_protocols(rows)) > 1 else ""
        figure.supxlabel(f"normalised performance (dashed: the expert of the task{hollow})", fontsize=9)
        return save(figure, out)


def average_against_worst(comparison: Comparison, out: Path) -> Path:
    """One point per merged checkpoint and the base: its average against its worst task, with 95 % intervals.

    On the dashed diagonal the worst task is as good as the average; no point lies above it.

    Args:
        comparison: what to show. Rows without an average are named under the figure.
        out: the figure's file; its suffix says the format: .png, .pdf or .svg.

    Returns:
        `out`.

    Raises:
        InputError: another suffix, or no base and no merged checkpoint to show.
    """
    rows = _shown(comparison, out)
    known = [row for row in rows if row.worst_task.value is not None]
    if not known:
        raise InputError(f"run {comparison.name}: nothing to draw, because no checkpoint has an average")
    style = looks(rows)
    estimates = [estimate for row in known for estimate in (row.average, row.worst_task)]
    with rc_context(STYLE):
        # Texts are measured as they will be drawn: at few dots per inch they are wider.
        figure = Figure(figsize=(5.6, 5.6), dpi=STYLE["savefig.dpi"])
        axes = figure.add_axes((0.11, 0.11, 0.86, 0.86))
        low, high = _range(estimates)
        axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
        axes.set_xlabel("average normalised performance")
        axes.set_ylabel("normalised performance of the worst task")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=7, steps=[1, 2, 2.5, 5, 10]))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=7, steps=[1, 2, 2.5, 5, 10]))
        axes.grid(color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.plot([low, high], [low, high], color=REFERENCE, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1.5)
        middle = low + 0.3 * (high - low)
        axes.annotate(
            "worst task = average",
            (middle, middle),
            xytext=(-5, 5),
            textcoords="offset points",
            rotation=45,
            ha="center",
            va="center",
            fontsize=8,
            color=REFERENCE,
        )
        for row in known:
            _draw_point(axes, row, style[row.label])
        _name_points(axes, known)
        _protocol_legend(axes, known)
        missing = [printable(row.label) for row in rows if row not in known]
        if missing:
            text = textwrap.fill(f"without an average: {', '.join(missing)}", 90)
            figure.text(0.11, 0.0, text, fontsize=7.5, va="top", color=REFERENCE)
        return save(figure, out)


def _shown(comparison: Comparison, out: Path) -> list[Row]:
    """The rows that figures show: the base, then the merged checkpoints, in the order of the run."""
    check_suffix(out)
    base = [row for row in comparison.rows if row.role == "base"]
    merged = [row for row in comparison.rows if row.role == "merged"]
    if not base and not merged:
        raise InputError(
            f"run {comparison.name}: nothing to draw, because it has no base and no merged checkpoint"
        )
    return [*base, *merged]


def _draw_panel(
    axes: Axes, rows: Sequence[Row], estimates: Sequence[Estimate], style: Mapping[str, Look]
) -> None:
    axes.axvline(1, color=REFERENCE, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    axes.grid(axis="x", which="both", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    for place, (row, estimate) in enumerate(zip(rows, estimates, strict=True)):
        look = style[row.label]
        if place % 2 == 0:
            axes.axhspan(place - 0.5, place + 0.5, color="#F6F6F6", zorder=0, linewidth=0)
        if estimate.value is None:
            text = UNKNOWN if row.is_complete else "incomplete"
            axes.text(
                0.5,
                place,
                text,
                transform=axes.get_yaxis_transform(),
                ha="center",
                va="center",
                fontsize=7.5,
                color=BASE_COLOUR,
            )
            continue
        if estimate.low is not None and estimate.high is not None:
            axes.plot(
                [estimate.low, estimate.high],
                [place, place],
                color=look.colour,
                linewidth=1.5,
                solid_capstyle="butt",
                zorder=2,
            )
        axes.plot(
            estimate.value,
            place,
            look.marker,
            color=look.colour,
            markerfacecolor=look.fill,
            markersize=5,
            markeredgewidth=1.2,
            zorder=3,
            clip_on=False,
        )


def _draw_point(axes: Axes, row: Row, look: Look) -> None:
    x, y = _numbers(row.average), _numbers(row.worst_task)
    for across, up in ((x[1:], y[:1] * len(y[1:])), (x[:1] * len(x[1:]), y[1:])):
        axes.plot(across, up, color=look.colour, linewidth=1.1, alpha=0.55, zorder=2, solid_capstyle="butt")
    axes.plot(
        x[:1],
        y[:1],
        look.marker,
        color=look.colour,
        markerfacecolor=look.fill,
        markersize=7,
        markeredgewidth=1.4,
    )


def _numbers(estimate: Estimate) -> list[float]:
    """The value, and the bounds of its interval, as far as they are known."""
    return [number for number in (estimate.value, estimate.low, estimate.high) if number is not None]


def _name_points(axes: Axes, rows: Sequence[Row]) -> None:
    """Write the labels beside the points, with a dotted line to those that had to go further away."""
    figure = axes.figure.get_figure(root=True)
    renderer = FigureCanvasAgg(figure).get_renderer()
    # From pixels to points, which is what labels are placed in.
    scale = 72 / figure.dpi

    def box(artist: Artist) -> Box:
        return Box(*(float(edge) * scale for edge in artist.get_window_extent(renderer).extents))

    at = [(row.average.value or 0.0, row.worst_task.value or 0.0) for row in rows]
    points = [(float(x) * scale, float(y) * scale) for x, y in axes.transData.transform(at)]
    obstacles = [small.grown(3) for text in axes.texts for small in _along(box(text))]
    # The first line is the diagonal; then come the intervals and the marker of each point.
    obstacles += [box(line).grown(0.8) for line in axes.lines[1:]]
    reach = [_reach(axes, row, scale) for row in rows]
    texts = [
        axes.annotate(
            printable(row.label), place, (0, 0), textcoords="offset points", fontsize=8.5, va="bottom"
        )
        for row, place in zip(rows, at, strict=True)
    ]
    sizes = [(one.right - one.left, one.top - one.bottom) for one in map(box, texts)]
    places = place_labels(points, sizes, obstacles, box(axes.patch), reach, below_diagonal=True)
    for value, point, text, bars, place in zip(at, points, texts, reach, places, strict=True):
        text.set_position((place.left - point[0], place.bottom - point[1]))
        end = leader(point, bars, place)
        if end is not None:
            line = {
                "arrowstyle": "-",
                "color": _LEADER,
                "linewidth": 0.6,
                "linestyle": (0, (1, 1.5)),
                "shrinkA": 0,
                "shrinkB": 5,
            }
            offset = (end[0] - point[0], end[1] - point[1])
            axes.annotate("", value, offset, textcoords="offset points", arrowprops=line)


def _reach(axes: Axes, row: Row, scale: float) -> Box:
    """How far the intervals of a point reach, in points."""
    x, y = _numbers(row.average), _numbers(row.worst_task)
    (left, bottom), (right, top) = axes.transData.transform([(min(x), min(y)), (max(x), max(y))])
    return Box(*(float(edge) * scale for edge in (left, bottom, right, top)))


def _along(box: Box) -> list[Box]:
    """Small rectangles along the diagonal of one."""
    steps = 12
    width, height = (box.right - box.left) / steps, (box.top - box.bottom) / steps
    corners = [(box.left + step * width, box.bottom + step * height) for step in range(steps)]
    return [Box(x, y, x + width, y + height) for x, y in corners]


def _protocol_legend(axes: Axes, rows: Sequence[Row]) -> None:
    """Say what a hollow marker means, where there are hollow ones."""
    protocols = _protocols(rows)
    if len(protocols) < 2:
        return
    handles = [
        Line2D(
            [],
            [],
            linestyle="",
            marker="o",
            color="black",
            markeredgewidth=1.4,
            markerfacecolor="white" if protocol == "post-hoc" else "black",
            label=protocol,
        )
        for protocol in protocols
    ]
    axes.legend(handles=handles, loc="upper left", frameon=False)


def _protocols(rows: Sequence[Row]) -> list[str]:
    """Post-hoc first."""
    return sorted({row.protocol for row in rows if row.role == "merged" and row.protocol}, reverse=True)


def _range(estimates: Sequence[Estimate]) -> tuple[float, float]:
    """Limits that show every interval, and 1."""
    numbers = [number for estimate in estimates for number in _numbers(estimate)]
    low, high = min([1.0, *numbers]), max([1.0, *numbers])
    margin = 0.05 * max(high - low, 0.1)
    return low - margin, high + margin
