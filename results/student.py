"""Student's interval of a mean."""

from collections.abc import Sequence
from math import sqrt
from statistics import fmean, stdev

from results.bootstrap import Interval


def student_interval(values: Sequence[float]) -> Interval | None:
    """Return the 95 % interval of the values' mean; None for less than two."""
    if len(values) < 2:
        return None
    from scipy.stats import t

    mean = fmean(values)
    half = float(t.ppf(0.975, len(values) - 1)) * stdev(values) / sqrt(len(values))
    return Interval(mean - half, mean + half)
