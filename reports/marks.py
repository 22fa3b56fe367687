"""Which numbers of a column stand out: the best and the second, or those that noise may have put there."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Literal

from results.bootstrap import Draws
from results.ranking import rank_groups
from results.student import student_interval

Mark = Literal["", "best", "second", "tie"]
Each = Mapping[Hashable, float]
"""What a value is the mean of, by seed (or subset of tasks); empty where it is of none."""


def marks(
    values: Sequence[float | None],
    draws: Sequence[Draws | None] | None = None,
    each: Sequence[Each] | None = None,
) -> list[Mark]:
    """Mark the numbers of a column, higher being better.

    The highest is best and the next one second; equals together where nothing is known of their noise, ties
    else. A number that only noise tells from the highest is a tie, and so is the highest then, and nothing is
    best or second: one in the highest's rank group, or one whose difference to it under equal seeds has a
    95 % interval that holds zero (Student's t).

    Args:
        values: as they are shown, None where one is not known.
        draws: of each value, its paired resamples of documents; None or empty where there are none.
        each: of each value, what it is the mean of.
    """
    known = [value for value in values if value is not None]
    if not known:
        return [""] * len(values)
    highest = max(known)
    top = values.index(highest)
    equal = _not_told_apart(values, draws or [None] * len(values))
    tied = [
        value is not None
        and value != highest
        and ((top in equal and other in equal) or _seeds_disagree(each, top, other))
        for other, value in enumerate(values)
    ]
    measured = any(drawn is not None and drawn.size for drawn in draws or ()) or any(each or ())
    if any(tied) or (measured and known.count(highest) > 1):
        return ["tie" if one or value == highest else "" for one, value in zip(tied, values, strict=True)]
    below = [value for value in known if value < highest]
    second = max(below) if below else None
    if measured and known.count(second or 0.0) > 1:
        second = None
    return [
        "best" if value == highest else "second" if value is not None and value == second else ""
        for value in values
    ]


def _not_told_apart(values: Sequence[float | None], draws: Sequence[Draws | None]) -> set[int]:
    """Which values are in the first rank group, of those with resamples."""
    known = [
        (index, value, drawn)
        for index, (value, drawn) in enumerate(zip(values, draws, strict=True))
        if value is not None and drawn is not None and drawn.size
    ]
    groups = rank_groups([value for _, value, _ in known], [drawn for _, _, drawn in known])
    return {index for (index, _, _), group in zip(known, groups, strict=True) if group == 1}


def _seeds_disagree(each: Sequence[Each] | None, top: int, other: int) -> bool:
    if each is None or set(each[top]) != set(each[other]):
        return False
    interval = student_interval([value - each[other][key] for key, value in each[top].items()])
    return interval is not None and interval.low <= 0 <= interval.high
