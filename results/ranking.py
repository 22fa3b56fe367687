"""Ranks that are shared by what the documents cannot tell apart."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_LEVEL = 0.95


def rank_groups(values: Sequence[float], draws: Sequence[NDArray[np.float64]]) -> list[int]:
    """Each entry's rank group, 1 for the best; entries of one group cannot be told apart from its best one.

    Groups are cut from the sorted entries, best first. A group is what is left when the last entry is dropped
    again and again until those at hand may all be equal: until max_k (v_best − v_k) / s_k, with s_k the
    standard deviation of the difference over resamples, is reached by 5 % of resamples whose entries were
    made equal (less their own means; the best is then the best of the resample). The next group is cut in the
    same way from the entries below. So entries that are equal share a group 95 % of the time, however many
    there are, and far worse ones do not hide differences among those above them: they are dropped first.

    This is the model confidence set of Hansen, Lunde and Nason (Econometrica 79, 2011,
    https://doi.org/10.3982/ECTA5771), with comparisons to the best as in Hsu (Annals of Statistics 9, 1981),
    and cut by rank, so that a group has no gaps.

    Args:
        values: the measured statistic of each entry; higher is better.
        draws: its paired bootstrap resamples (the same index is the same documents), shape (resamples,), NaN
            where unknown. An entry that is unknown in all of them is told apart from none.
    """
    order = np.argsort([-value for value in values], kind="stable")
    measured = np.asarray(values, dtype=np.float64)[order]
    resampled = np.stack([draws[index] for index in order]) if len(order) else np.empty((0, 0))
    groups = np.zeros(len(order), dtype=np.int64)
    first, group = 0, 0
    while first < len(order):
        size = _group_size(measured[first:], resampled[first:])
        group += 1
        groups[order[first : first + size]] = group
        first += size
    return groups.tolist()


def _group_size(values: NDArray[np.float64], draws: NDArray[np.float64]) -> int:
    """How many of the sorted entries cannot be told apart from the first."""
    for size in range(len(values), 1, -1):
        if not _differ(values[:size], draws[:size]):
            return size
    return 1


def _differ(values: NDArray[np.float64], draws: NDArray[np.float64]) -> bool:
    """Whether some entry can be told apart from the first, which is the best."""
    some = ~np.isnan(draws).all(axis=1)
    draws = draws[some][:, ~np.isnan(draws[some]).any(axis=0)]
    values = values[some]
    if len(values) < 2 or not draws.shape[1]:
        return False
    noise = draws - draws.mean(axis=1, keepdims=True)
    # Standard deviations of all differences, from the covariances.
    covariance = noise @ noise.T / noise.shape[1]
    variance = covariance.diagonal()
    spread = np.sqrt(np.maximum(variance[:, None] + variance - 2 * covariance, 0.0))
    best = noise.argmax(axis=0)
    of_resamples = _over(noise.max(axis=0) - noise, spread[:, best]).max(axis=0)
    return bool(_over(values[0] - values, spread[0]).max() > np.quantile(of_resamples, _LEVEL))


def _over(differences: NDArray[np.float64], spread: NDArray[np.float64]) -> NDArray[np.float64]:
    """Differences in standard deviations: 0 where there is none, infinite where it never varies."""
    unvarying = np.where(differences > 1e-12, np.inf, 0.0)
    return np.divide(differences, spread, out=unvarying, where=spread > 1e-12)
