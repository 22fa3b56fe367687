"""Which numbers of a column stand out: the best and the second, or those that noise may have put there."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from results.bootstrap import Draws, percentile_interval
from results.student import student_interval

Mark = Literal["", "best", "second", "tie"]
Seeds = Sequence[float]
"""One checkpoint's values under each of several seeds, or none."""


def marks(
    values: Sequence[float | None],
    draws: Sequence[Draws | None] | None = None,
    seeds: Sequence[Seeds] | None = None,
) -> list[Mark]:
    """Mark the numbers of a column, higher being better.

    The highest is best and the next one second, equals together. A number that only noise tells from the
    highest is a tie, and so is the highest then; nothing is best or second: where the paired difference has a
    95 % interval that holds zero, over documents or, by Student's t, over seeds.

    Args:
        values: as they are shown, None where one is not known.
        draws: of each value, its paired resamples of documents; None or empty where there are none.
        seeds: of each value, what it is the mean of.
    """
    known = [value for value in values if value is not None]
    if not known:
        return [""] * len(values)
    highest = max(known)
    top = values.index(highest)
    tied = [
        value is not None and value != highest and _within_noise(top, other, draws, seeds)
        for other, value in enumerate(values)
    ]
    if any(tied):
        return ["tie" if one or value == highest else "" for one, value in zip(tied, values, strict=True)]
    below = [value for value in known if value < highest]
    second = max(below) if below else None
    return [
        "best" if value == highest else "second" if value is not None and value == second else ""
        for value in values
    ]


def _within_noise(
    top: int, other: int, draws: Sequence[Draws | None] | None, seeds: Sequence[Seeds] | None
) -> bool:
    intervals = []
    if draws is not None:
        one, two = draws[top], draws[other]
        if one is not None and two is not None and one.size and one.size == two.size:
            intervals.append(percentile_interval(one - two))
    if seeds is not None and len(seeds[top]) == len(seeds[other]):
        differences = np.subtract(seeds[top], seeds[other])
        intervals.append(student_interval(differences.tolist()))
    return any(one is not None and one.low <= 0 <= one.high for one in intervals)
