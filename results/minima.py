"""Intervals of the least of several measured numbers, such as the worst task, its differences and its means.

The truth is θ = min_t θ_t. The least of noisy numbers tends to lie below it, and resampling adds noise again,
so that percentiles of the resampled minimum lie too low: where four tasks are equally bad, the 95 % interval
made of them misses θ every other time. Here each limit is one that no tie can push past θ, as in
Chernozhukov, Lee and Rosen, "Intersection Bounds" (Econometrica 81, 2013, https://doi.org/10.3982/ECTA8718):

    low  = min_t of the 2.5th percentiles. It lies above θ only where the worst task's lies above its θ_t.
    high = min_t (θ̂_t + k σ_t) over the contenders, the tasks that are the worst in some resample, with k such
           that 97.5 % of the time none of them lies below its own θ_t. If none does, neither does the least.

Where one task is clearly the worst, this is its percentile interval. Where several are close, it covers θ
more often than 95 % of the time, and reaches further up, since k grows with their number: 1.96 for one, 2.24
for two and 2.49 for four that do not depend on each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from results.intervals import Draws, Interval, quantiles

Term = tuple[Draws, Draws | None]
"""What a difference of two minima is made of: the resampled parts of both, shape (parts, resamples) or, of a
single part, (resamples,). None in place of the second stands for zero."""

_UP_TO = 0.975
_MOST_CHOICES = 32
_REACHED = 1e-13


@dataclass(frozen=True)
class PairedDifference:
    """The paired difference of two checkpoints, a − b, with its 95 % interval.

    Attributes:
        value: the measured difference.
        low: lower limit.
        high: upper limit.
    """

    value: float
    low: float
    high: float


def mean_interval(terms: Sequence[Term]) -> Interval | None:
    """The 95 % interval of the mean over terms of min_t a_t − min_r b_r.

    The upper limit would be that of the mean of min_t (a_t − b_r), if it were known which r is the least. So
    it is the greatest of these limits over all r that are the least in some resample. Of several terms each
    has its own r; where they may be chosen in many ways, the 32 most frequent ones count. The lower limit is
    minus the upper limit of the negative. Of single parts this is the percentile interval.

    Args:
        terms: one for each seed, or one alone, all from the same resamples.

    Returns:
        None where no resample has a value for all parts.
    """
    sides = _known(terms)
    if not sides[0][0].shape[1]:
        return None
    return Interval(0.0 - _upper_limit([(b, a) for a, b in sides]), _upper_limit(sides))


def difference(value: float, first: Draws, second: Draws) -> PairedDifference | None:
    """The interval of a paired difference; None where no resample has a value for both.

    Args:
        value: the measured difference.
        first: the resampled parts of one checkpoint's statistic, which is the least of them.
        second: those of the other, from the same resamples.
    """
    interval = mean_interval([(first, second)])
    return PairedDifference(value, interval.low, interval.high) if interval else None


def upper_limit(first: Draws, second: Draws, confidence: float) -> float | None:
    """What a paired difference lies below with some confidence; None where no resample has both values.

    Args:
        first: the resampled parts of one checkpoint's statistic, which is the least of them.
        second: those of the other, from the same resamples.
        confidence: of this side alone; 0.975 gives the upper limit of `difference`.
    """
    sides = _known([(first, second)])
    return _upper_limit(sides, confidence) if sides[0][0].shape[1] else None


def _known(terms: Sequence[Term]) -> list[tuple[Draws, Draws]]:
    """Both sides of every term, shape (parts, resamples), in the resamples where all parts have a value."""
    sides = [
        (np.atleast_2d(a), np.zeros((1, a.shape[-1])) if b is None else np.atleast_2d(b)) for a, b in terms
    ]
    usable = ~np.any([np.isnan(parts).any(axis=0) for pair in sides for parts in pair], axis=0)
    return sides if usable.all() else [(a[:, usable], b[:, usable]) for a, b in sides]


def _upper_limit(terms: Sequence[tuple[Draws, Draws]], up_to: float = _UP_TO) -> float:
    contenders = [a[np.bincount(a.argmin(axis=0), minlength=len(a)) > 0] for a, _ in terms]
    return max(
        _limit_of_minima([a - b[r] for a, (_, b), r in zip(contenders, terms, choice, strict=True)], up_to)
        for choice in _choices([b for _, b in terms])
    )


def _choices(subtracted: Sequence[Draws]) -> NDArray[np.int64]:
    """Which part of each is the least in some resample, shape (choices, terms), the most frequent first."""
    least = np.stack([parts.argmin(axis=0) for parts in subtracted], axis=1)
    numbers = np.zeros(len(least), dtype=np.int64)
    for parts, column in zip(subtracted, least.T, strict=True):
        if len(parts) > 1:
            numbers = numbers * len(parts) + column
            if len(subtracted) > 1:
                numbers = np.unique(numbers, return_inverse=True)[1]
    counts = np.bincount(numbers)
    resample = np.zeros(len(counts), dtype=np.int64)
    resample[numbers] = np.arange(len(numbers))
    met = np.flatnonzero(counts)
    return least[resample[met[np.argsort(-counts[met], kind="stable")[:_MOST_CHOICES]]]]


def _limit_of_minima(terms: Sequence[Draws], up_to: float) -> float:
    """The upper limit of the mean of the terms' minima, each of shape (contenders, resamples).

    With z the deviations of resamples from their mean, the limit mean_j min_t (θ̂_jt + k σ_jt) is too low by
    mean_j max_t (z_jt − k σ_jt) at most. Every resample has a k of its own at which this is zero; of these
    a share `up_to` lies below the k that is taken. Of single contenders this is the percentile of their mean.
    """
    if all(len(draws) == 1 for draws in terms):
        return quantiles(np.mean(terms, axis=0)[0], up_to)[0]
    centres = [draws.mean(axis=1, keepdims=True) for draws in terms]
    deviations = [draws - centre for draws, centre in zip(terms, centres, strict=True)]
    spreads = [deviation.std(axis=1) for deviation in deviations]
    own = _own_multiples(deviations, spreads)
    k = quantiles(own, up_to)[0]
    limits = [(centre[:, 0] + k * spread).min() for centre, spread in zip(centres, spreads, strict=True)]
    return float(np.mean(limits))


def _own_multiples(deviations: Sequence[Draws], spreads: Sequence[Draws]) -> Draws:
    """Of each resample the k at which mean_j max_t (z_jt − k σ_jt) is zero, shape (resamples,)."""
    if len(deviations) == 1:
        spread = np.broadcast_to(spreads[0][:, None], deviations[0].shape)
        multiples = np.divide(deviations[0], spread, out=np.zeros_like(deviations[0]), where=spread > 0)
        largest: Draws = multiples.max(axis=0)
        return largest
    own = np.zeros(deviations[0].shape[1])
    # The excess is convex and made of no more straight pieces than there are parts: Newton's steps reach its
    # zero, and stay.
    for _ in range(1 + sum(map(len, deviations))):
        above, slope = np.zeros_like(own), np.zeros_like(own)
        for deviation, spread in zip(deviations, spreads, strict=True):
            excess = deviation - own * spread[:, None]
            above += excess.max(axis=0)
            slope += spread[excess.argmax(axis=0)]
        step = np.divide(above, slope, out=np.zeros_like(own), where=slope > 0)
        own = own + step
        if np.abs(step).max() < _REACHED:
            break
    return own
