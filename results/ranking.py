"""Ranks that say no more than the documents do: entries that cannot be told apart share one."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def rank_groups(values: Sequence[float], draws: Sequence[NDArray[np.float64]]) -> list[int]:
    """Rank groups, from the best entry down.

    A group begins with the best entry that is left, and has all that cannot be told apart from it: their
    paired difference to it has an interval, 95 % over all comparisons with one (Bonferroni), that holds zero.

    Args:
        values: the measured statistic of each entry; higher is better.
        draws: its paired bootstrap resamples, shape (resamples,), NaN where unknown.

    Returns:
        Each entry's group, 1 for the best.
    """
    tail = 0.025 / max(1, len(values) - 1)
    ranks = [0] * len(values)
    best, rank = -1, 0
    for place in sorted(range(len(values)), key=lambda one: -values[one]):
        if best < 0 or _differs(draws[best] - draws[place], tail):
            best, rank = place, rank + 1
        ranks[place] = rank
    return ranks


def _differs(differences: NDArray[np.float64], tail: float) -> bool:
    """Whether all but a share of `tail` are above zero."""
    known = differences[~np.isnan(differences)]
    return known.size > 0 and float(np.quantile(known, tail)) > 0
