"""Intervals: by percentiles of resamples, and Student's of a mean."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import sqrt
from statistics import fmean, stdev

import numpy as np
from numpy.typing import NDArray

Draws = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """The limits of a 95 % interval."""

    low: float
    high: float


def percentile_interval(draws: Draws) -> Interval | None:
    """The 95 % percentile interval of the resampled values; NaN is left out, None where nothing remains."""
    known = draws[~np.isnan(draws)]
    if not known.size:
        return None
    low, high = quantiles(known, 0.025, 0.975)
    return Interval(low, high)


def quantiles(known: Draws, *levels: float) -> list[float]:
    """Quantiles of values without NaN, as `np.quantile` gives them, which is slow for many short arrays."""
    ordered = np.sort(known)
    found = []
    for level in levels:
        place = level * (ordered.size - 1)
        below = int(place)
        low, high = float(ordered[below]), float(ordered[min(below + 1, ordered.size - 1)])
        share = place - below
        found.append(high - (high - low) * (1 - share) if share >= 0.5 else low + (high - low) * share)
    return found


def least_of(parts: Draws) -> Draws:
    """Return the least of several parts in every resample, shape (resamples,); of one part, the part."""
    least: Draws = np.atleast_2d(parts).min(axis=0)
    return least


def student_interval(values: Sequence[float]) -> Interval | None:
    """Return the 95 % interval of the values' mean; None for less than two."""
    if len(values) < 2:
        return None
    mean = fmean(values)
    half = _students_t(len(values) - 1) * stdev(values) / sqrt(len(values))
    return Interval(mean - half, mean + half)


@cache
def _students_t(freedom: int) -> float:
    """The 97.5th percentile of Student's distribution."""
    from scipy.special import stdtrit  # of which scipy.stats makes its own, and takes a second to import

    return float(stdtrit(freedom, 0.975))
