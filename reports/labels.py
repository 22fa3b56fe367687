"""Placing names beside points, so that no name covers another name, a point or an interval."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

# Points from a marker's middle to a label beside it, and from an interval's end to a label behind it.
_BESIDE = 5.5
_BEHIND = 3.0
# A label this near to its point or interval needs no leader.
_TOUCHES = 8.0
_RADII = (10, 14, 20, 28, 38, 50, 64, 80, 100, 125)
# Away from the horizontal and the vertical, along which the intervals run.
_ANGLES = tuple(math.radians(quadrant + angle) for quadrant in (0, 270, 180, 90) for angle in (45, 25, 65))
_GAP = 1.5
_ROUNDS = 3


@dataclass(frozen=True)
class Box:
    """A rectangle, in points of 1/72 inch."""

    left: float
    bottom: float
    right: float
    top: float

    def overlap(self, other: "Box") -> float:
        """The area that the two share."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(0.0, width) * max(0.0, height)

    def grown(self, by: float) -> "Box":
        """The rectangle with a margin on every side."""
        return Box(self.left - by, self.bottom - by, self.right + by, self.top + by)

    def nearest(self, x: float, y: float) -> tuple[float, float]:
        """The point of the rectangle that is nearest to (x, y)."""
        return min(max(x, self.left), self.right), min(max(y, self.bottom), self.top)

    def distance(self, x: float, y: float) -> float:
        """How far (x, y) is from the rectangle; 0 inside."""
        return math.dist((x, y), self.nearest(x, y))

    def gap(self, other: "Box") -> float:
        """How far the two are from each other; 0 where they touch."""
        across = max(self.left - other.right, other.left - self.right, 0.0)
        up = max(self.bottom - other.top, other.bottom - self.top, 0.0)
        return math.hypot(across, up)

    def meets(self, start: tuple[float, float], end: tuple[float, float]) -> bool:
        """Whether the line between two points crosses the rectangle, seen at some places along it."""
        steps = [step / 16 for step in range(17)]
        places = [(start[0] + at * (end[0] - start[0]), start[1] + at * (end[1] - start[1])) for at in steps]
        return any(self.distance(*place) == 0 for place in places)


def place_labels(
    points: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    obstacles: Sequence[Box],
    frame: Box,
    intervals: Sequence[Box] | None = None,
    *,
    below_diagonal: bool = False,
) -> list[Box]:
    """A place for the label of every point.

    Each label in turn takes the free place that is best: near its point, nearer to it than to others, and
    with a leader, if it needs one, that covers nothing. Where no place is free, it takes the one that
    covers least.
    Further rounds use what later labels left free, and of several orders the best counts.

    Args:
        points: what the labels name.
        sizes: width and height of the labels.
        obstacles: what no label should cover; markers and intervals of all points among them.
        frame: what no label should leave.
        intervals: how far the horizontal and the vertical interval of each point reach.
        below_diagonal: whether labels should stay below the frame's diagonal, and never cross it.

    Returns:
        One rectangle per point, in the order of the points.
    """
    options: list[list[_Option]] = []
    for index, point in enumerate(points):
        bars = Box(*point, *point) if intervals is None else intervals[index]
        others = [other for place, other in enumerate(points) if place != index]
        found = []
        for box in _candidates(point, sizes[index], bars):
            end = leader(point, bars, box)
            cost = 100 * sum(box.overlap(obstacle) for obstacle in obstacles) + _fit(box, point, others, end)
            cost += 1000 * (sizes[index][0] * sizes[index][1] - box.overlap(frame))
            cost += _across_diagonal(box, frame) if below_diagonal else 0.0
            found.append(_Option(cost, box, None if end is None else (point, end)))
        options.append(sorted(found, key=lambda option: option.cost))
    crowd = [sum(1 / (20 + math.dist(point, other)) for other in points) for point in points]
    order = sorted(range(len(points)), key=lambda index: -crowd[index])
    orders = [order, order[::-1]] + [[one, *(other for other in order if other != one)] for one in order]
    return min((_place(options, one) for one in orders), key=lambda found: found[0])[1]


@dataclass(frozen=True)
class _Option:
    """A place for a label: what it costs whatever the other labels do, and its leader."""

    cost: float
    box: Box
    line: tuple[tuple[float, float], tuple[float, float]] | None


def _place(options: Sequence[Sequence[_Option]], order: Sequence[int]) -> tuple[float, list[Box]]:
    """What the labels cost if they take their places in this order, and the places."""
    placed: dict[int, Box] = {}
    costs: dict[int, float] = {}
    for _ in range(_ROUNDS):
        for index in order:
            labels = [box.grown(_GAP) for other, box in placed.items() if other != index]
            best = math.inf
            for option in options[index]:
                if option.cost >= best:
                    break
                cost = option.cost + 100 * sum(option.box.overlap(label) for label in labels)
                if option.line is not None and cost < best:
                    cost += 20 * sum(label.meets(*option.line) for label in labels)
                if cost < best:
                    best, placed[index] = cost, option.box
            costs[index] = best
    return sum(costs.values()), [placed[index] for index in range(len(options))]


def _fit(
    box: Box,
    point: tuple[float, float],
    others: Sequence[tuple[float, float]],
    end: tuple[float, float] | None,
) -> float:
    """What it costs that a label is far from its point, near to others, or needs a leader."""
    own = box.distance(*point)
    cost = own + 2 * sum(max(0.0, own + 3 - box.distance(*other)) for other in others)
    if end is not None:
        cost += 10 + 10 * sum(Box(*other, *other).grown(4).meets(point, end) for other in others)
    return cost


def leader(point: tuple[float, float], interval: Box, label: Box) -> tuple[float, float] | None:
    """Where at its label's edge the line from a point ends; None for a label that needs no line.

    Args:
        point: what the label names.
        interval: how far the point's horizontal and vertical interval reach.
        label: its place.
    """
    x, y = point
    bars = (Box(interval.left, y, interval.right, y), Box(x, interval.bottom, x, interval.top))
    if min(label.gap(bar) for bar in bars) <= _TOUCHES:
        return None
    return label.nearest(x, y)


def _candidates(point: tuple[float, float], size: tuple[float, float], bars: Box) -> list[Box]:
    """Places around a point: between its intervals, behind their ends, and further away, but not in line."""
    (x, y), (width, height) = point, size
    right, left = max(bars.right + _BEHIND, x + _BESIDE), min(bars.left - _BEHIND, x - _BESIDE) - width
    over, under = max(bars.top + _BEHIND, y + _BESIDE), min(bars.bottom - _BEHIND, y - _BESIDE) - height
    corners = [(right, y - height / 2), (left, y - height / 2), (x - width / 2, under), (x - width / 2, over)]
    corners += [(x - width * part, row) for part in (0.25, 0.1, 0.75, 0.9) for row in (under, over)]
    for across, up in ((_BESIDE, 2.5), (_BESIDE, _BESIDE), (2.5, _BESIDE)):
        rows = (y - up - height, y + up)
        corners += [(column, row) for column in (x + across, x - across - width) for row in rows]
    for radius in _RADII:
        for angle in _ANGLES:
            across, up = radius * math.cos(angle), radius * math.sin(angle)
            corners.append((x + across - width * (across < 0), y + up - height * (up < 0)))
    return [Box(left, bottom, left + width, bottom + height) for left, bottom in corners]


def _across_diagonal(box: Box, frame: Box) -> float:
    """What it costs that a rectangle is not below the diagonal: most where it crosses it."""
    rise = frame.bottom - frame.left
    if box.top - box.left < rise:
        return 0.0
    return 40.0 if box.bottom - box.right > rise else 2000.0
