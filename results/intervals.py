"""Intervals: by percentiles of resamples, and Student's of a mean."""

from collections.abc import Sequence
from dataclasses import dataclass
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
    low, high = np.percentile(known, [2.5, 97.5])
    return Interval(float(low), float(high))


def least_of(parts: Draws) -> Draws:
    """Return the least of several parts in every resample, shape (resamples,); of one part, the part."""
    least: Draws = np.atleast_2d(parts).min(axis=0)
    return least


def student_interval(values: Sequence[float]) -> Interval | None:
    """Return the 95 % interval of the values' mean; None for less than two."""
    if len(values) < 2:
        return None
    from scipy.stats import t

    mean = fmean(values)
    half = float(t.ppf(0.975, len(values) - 1)) * stdev(values) / sqrt(len(values))
    return Interval(mean - half, mean + half)
