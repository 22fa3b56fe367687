"""Points with intervals in two directions, and their names beside them, so that nothing covers anything."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg

from reports.drawing import legend_above, wrapped
from reports.ends import NAME_WIDTH, can_be_named
from reports.labels import Box, leader, place_labels
from reports.palette import Look, marker_handle, method_handles, protocol_handles
from reports.shown import Shown

_LEADER = "#8A8A8A"


@dataclass(frozen=True)
class Point:
    """A point with its name.

    Attributes:
        name: what stands beside it.
        look: how it is drawn.
        x: its value, then the bounds of its interval where they are known.
        y: likewise.
        each: the same of each seed, where there are several.
    """

    name: str
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


def name_or_list(
    found: Sequence[Axes],
    points: Sequence[Sequence[Point]],
    drawn: Sequence[Shown],
    others: Sequence[Artist] = (),
    *,
    most: int = 26,
    below_diagonal: bool = False,
) -> None:
    """Write names beside points and what hollow markers mean above; long or many names above as well.

    Args:
        found: panels of a figure that is laid out by constrained layout, with everything drawn.
        points: of each panel.
        drawn: the methods that they are of.
        others: what else the legend says.
        most: points of a panel that are named there.
        below_diagonal: whether names should stay below the diagonal.
    """
    figure = found[0].figure.get_figure(root=True)
    if not can_be_named([one.label for one in drawn], most):
        legend_above(figure, [*method_handles(drawn, marker_handle), *others])
        return
    legend_above(figure, [*protocol_handles(drawn, marker_handle), *others])
    figure.draw_without_rendering()  # which lays it out
    for axes, of_panel in zip(found, points, strict=True):
        _name_points(axes, of_panel, below_diagonal)


def _name_points(axes: Axes, points: Sequence[Point], below_diagonal: bool) -> None:
    """Write names beside points, with a dotted line to those that had to go further away."""
    figure = axes.figure.get_figure(root=True)
    renderer = FigureCanvasAgg(figure).get_renderer()
    # From pixels to points, which is what labels are placed in.
    scale = 72 / figure.dpi

    def box(artist: Artist) -> Box:
        return Box(*(float(edge) * scale for edge in artist.get_window_extent(renderer).extents))

    at = [(point.x[0], point.y[0]) for point in points]
    places = [(float(x) * scale, float(y) * scale) for x, y in axes.transData.transform(at)]
    obstacles = [small.grown(3) for text in axes.texts for small in _along(box(text))]
    obstacles += [box(line).grown(0.8) for line in axes.lines if line.get_linestyle() not in {"--", ":"}]
    reach = [_reach(axes, point, scale) for point in points]
    texts = [
        axes.annotate(
            wrapped(point.name, NAME_WIDTH),
            place,
            (0, 0),
            textcoords="offset points",
            fontsize=8.5,
            va="bottom",
        )
        for point, place in zip(points, at, strict=True)
    ]
    sizes = [(one.right - one.left, one.top - one.bottom) for one in map(box, texts)]
    found = place_labels(places, sizes, obstacles, box(axes.patch), reach, below_diagonal=below_diagonal)
    for value, point, text, bars, place in zip(at, places, texts, reach, found, strict=True):
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


def _reach(axes: Axes, point: Point, scale: float) -> Box:
    """How far the intervals of a point reach, in points."""
    corners = [(min(point.x), min(point.y)), (max(point.x), max(point.y))]
    (left, bottom), (right, top) = axes.transData.transform(corners)
    return Box(*(float(edge) * scale for edge in (left, bottom, right, top)))


def _along(box: Box) -> list[Box]:
    """Small rectangles along the diagonal of one."""
    steps = 12
    width, height = (box.right - box.left) / steps, (box.top - box.bottom) / steps
    corners = [(box.left + step * width, box.bottom + step * height) for step in range(steps)]
    return [Box(x, y, x + width, y + height) for x, y in corners]
