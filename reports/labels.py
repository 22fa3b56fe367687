"""Placing names beside points, so that no name covers another name, a point or an interval."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

_RADII = (5, 9, 14, 20, 28, 38, 50, 64, 80, 100)
_ANGLES = tuple(
    math.radians(angle)
    for angle in (0, 180, 330, 210, 30, 150, 270, 90, 345, 195, 15, 165, 300, 240, 60, 120)
)
_GAP = 1.5


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


def place_labels(
    points: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    obstacles: Sequence[Box],
    frame: Box,
) -> list[Box]:
    """A place for the label of every point.

    Each label in turn, those of the most crowded points first, takes the nearest place that is free; where
    there is none, the one that covers least.

    Args:
        points: what the labels name.
        sizes: width and height of the labels.
        obstacles: what no label should cover; markers and intervals of all points among them.
        frame: what no label should leave.

    Returns:
        One rectangle per point, in the order of the points.
    """
    crowd = [sum(1 / (20 + math.dist(point, other)) for other in points) for point in points]
    placed: dict[int, Box] = {}
    for index in sorted(range(len(points)), key=lambda index: -crowd[index]):
        taken = [*obstacles, *(box.grown(_GAP) for box in placed.values())]
        candidates = _candidates(points[index], sizes[index])
        # Of equal costs `min` takes the first, and the nearest come first.
        placed[index] = min(candidates, key=lambda candidate: _cost(candidate, taken, frame))
    return [placed[index] for index in range(len(points))]


def _candidates(point: tuple[float, float], size: tuple[float, float]) -> list[Box]:
    """Places around a point, the nearest first: in every direction, that far from the label's edge."""
    width, height = size
    found = []
    for radius in _RADII:
        for angle in _ANGLES:
            across, up = math.cos(angle), math.sin(angle)
            left = point[0] + radius * across - width * (1 - across) / 2
            bottom = point[1] + radius * up - height * (1 - up) / 2
            found.append(Box(left, bottom, left + width, bottom + height))
    return found


def _cost(candidate: Box, taken: Sequence[Box], frame: Box) -> float:
    area = (candidate.right - candidate.left) * (candidate.top - candidate.bottom)
    outside = area - candidate.overlap(frame)
    return 10 * outside + sum(candidate.overlap(box) for box in taken)
