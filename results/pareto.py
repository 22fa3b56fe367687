"""Which of several points no other is better than: the Pareto front; more is better in every direction."""

from collections.abc import Sequence

Values = Sequence[float]


def dominates(first: Values, second: Values) -> bool:
    """Return whether the first is at least as good everywhere, and better somewhere."""
    at_least = all(one >= other for one, other in zip(first, second, strict=True))
    return at_least and any(one > other for one, other in zip(first, second, strict=True))


def undominated(points: Sequence[Values]) -> list[int]:
    """Return the places of the points that no other dominates."""
    return [
        place for place, point in enumerate(points) if not any(dominates(other, point) for other in points)
    ]


def front(points: Sequence[Values]) -> list[int]:
    """Return the places of the points that no other dominates; of equal points the first."""
    places = undominated(points)
    return [
        place
        for number, place in enumerate(places)
        if not any(list(points[other]) == list(points[place]) for other in places[:number])
    ]
