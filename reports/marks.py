"""Which numbers of a column stand out: the best and the second, or those that noise may have put there."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Literal

import numpy as np

from results.intervals import Draws
from results.ranking import rank_groups

Mark = Literal["", "best", "second", "tie"]
Each = Mapping[Hashable, float]
"""What a value is the mean of, by seed (over subsets of tasks, by task); empty where it is of none."""


def marks(
    values: Sequence[float | None],
    draws: Sequence[Draws | None] | None = None,
    each: Sequence[Each] | None = None,
) -> list[Mark]:
    """Mark the numbers of a column, higher being better.

    The highest is best and the next one second; equals together where nothing is known of their noise, ties
    else. A number that only noise tells from the highest is a tie, and so is the highest then, and nothing is
    best or second: those in the highest's rank group, by documents and seeds together.

    Args:
        values: as they are shown, None where one is not known.
        draws: of each value, its paired resamples of documents; None or empty where there are none.
        each: of each value, what it is the mean of, by seed. What has neither ties with nothing.
    """
    known = [value for value in values if value is not None]
    if not known:
        return [""] * len(values)
    highest = max(known)
    top = values.index(highest)
    equal = _not_told_apart(values, draws or [None] * len(values), each or [{}] * len(values))
    tied = [
        value is not None and value != highest and top in equal and other in equal
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


def _not_told_apart(
    values: Sequence[float | None], draws: Sequence[Draws | None], each: Sequence[Each]
) -> set[int]:
    """Which values are in the first rank group, of those with resamples or seeds."""
    known = [
        (index, value, np.empty(0) if drawn is None else drawn, seeds)
        for index, (value, drawn, seeds) in enumerate(zip(values, draws, each, strict=True))
        if value is not None and ((drawn is not None and drawn.size) or len(seeds) > 1)
    ]
    groups = rank_groups(
        [value for _, value, _, _ in known],
        [drawn for _, _, drawn, _ in known],
        [seeds for _, _, _, seeds in known],
    )
    return {index for (index, _, _, _), group in zip(known, groups, strict=True) if group == 1}
