"""Ranks that are shared by what neither documents nor seeds can tell apart."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LEVEL = 0.97
_RESAMPLES = 2000
"""Of entries that have seeds and no resamples of documents."""

Values = NDArray[np.float64]
Seeds = Mapping[Any, float]
"""An entry's value with each of its seeds; none or one where it has no several."""


def rank_groups(
    values: Sequence[float], draws: Sequence[Values], seeds: Sequence[Seeds] | None = None
) -> list[int]:
    """Each entry's rank group, 1 for the best; entries of one group cannot be told apart from its best one.

    Groups are cut from the sorted entries, best first. A group is what is left when the last entry is dropped
    again and again until those at hand may all be equal: until for all k

        v_best − v_k ≤ √(c_d² d_k² + c_s² s_k²)

    with d_k the standard deviation of the difference over resamples of the documents, and s_k that of its
    mean over seeds, which are paired where both entries have the same. c_d is what 97 % of resamples of
    entries that were made equal (less their own means; the best is then the best of the resample) stay below,
    max_k (v_best − v_k) / d_k; c_s is the like of newly drawn seeds, each draw with its own s_k, so that few
    seeds tell little apart, as by Student's t. To add both in this way, as Cochran and Cox do for two
    samples, errs on the safe side where both matter. The next group is cut in the same way from the entries
    below. Entries that are far worse do not hide differences among those above them, since they are dropped
    first. It is 3 % because d_k is uncertain too: in simulations with 2 to 20 equal entries and 100 documents
    all were in the first group 94 to 97 % of the time, whatever seeds add.

    This is the model confidence set of Hansen, Lunde and Nason (Econometrica 79, 2011,
    https://doi.org/10.3982/ECTA5771), with comparisons to the best as in Hsu (Annals of Statistics 9, 1981),
    and cut by rank, so that a group has no gaps.

    Args:
        values: the measured statistic of each entry; higher is better.
        draws: its paired bootstrap resamples (the same index is the same documents), shape (resamples,), NaN
            where unknown, of no length where nothing is known of the documents. An entry that is unknown in
            all of them is told apart from none.
        seeds: of each entry, its value by seed, the mean of which is the statistic.
    """
    order = np.argsort([-value for value in values], kind="stable")
    measured = np.asarray(values, dtype=np.float64)[order]
    resamples = max((len(resampled) for resampled in draws), default=0) or _RESAMPLES
    noise = [draws[index] if len(draws[index]) else np.zeros(resamples) for index in order]
    by_seed = [seeds[index] if seeds else {} for index in order]
    everything = _Noise(np.stack(noise) if noise else np.empty((0, 0)), _blocks(by_seed, resamples))
    groups = np.zeros(len(order), dtype=np.int64)
    first, group = 0, 0
    while first < len(order):
        size = _group_size(measured[first:], everything.take(np.arange(first, len(order))))
        group += 1
        groups[order[first : first + size]] = group
        first += size
    return groups.tolist()


@dataclass(frozen=True)
class _Block:
    """Entries that have the same seeds, of which there are at least two.

    Attributes:
        entries: their places.
        measured: values less the entry's mean over seeds, shape (entries, 1, seeds).
        means: of newly drawn seeds, shape (entries, resamples).
        drawn: their values less their means, shape (entries, resamples, seeds).
    """

    entries: NDArray[np.int64]
    measured: Values
    means: Values
    drawn: Values


@dataclass(frozen=True)
class _Noise:
    """What entries vary by: their resamples of documents, shape (entries, resamples), and their seeds."""

    documents: Values
    blocks: Sequence[_Block]

    def take(self, places: NDArray[np.int64]) -> "_Noise":
        """The same of some entries, in ascending order."""
        blocks = []
        for block in self.blocks:
            kept = np.isin(block.entries, places)
            if kept.any():
                at = np.searchsorted(places, block.entries[kept])
                blocks.append(_Block(at, block.measured[kept], block.means[kept], block.drawn[kept]))
        return _Noise(self.documents[places], blocks)


def _blocks(seeds: Sequence[Seeds], resamples: int) -> list[_Block]:
    """Entries by which seeds they have, each with new ones drawn for it.

    What is drawn is an effect of the seed, which all of them share, and one of the entry and the seed, each
    normal, with the variances that were measured over the entries together. Covariances of every two would be
    those of few seeds: with two, all entries would lie on a line.
    """
    places: dict[frozenset[Hashable], list[int]] = {}
    for place, of_entry in enumerate(seeds):
        if len(of_entry) > 1:
            places.setdefault(frozenset(of_entry), []).append(place)
    from results.bootstrap import generator_of  # with pandas, of which ranks that are kept need nothing

    blocks = []
    for number, (shared_seeds, entries) in enumerate(places.items()):
        count = len(shared_seeds)
        values = np.array(
            [[seeds[place][seed] for seed in sorted(shared_seeds, key=repr)] for place in entries]
        )
        measured = values - values.mean(axis=1, keepdims=True)
        of_entries = float((measured**2).sum() / (len(entries) * (count - 1)))
        apart, of_differences = measured - measured.mean(axis=0), of_entries
        if len(entries) > 1:
            of_differences = float((apart**2).sum() / ((len(entries) - 1) * (count - 1)))
        generator = generator_of(0, "ranks", str(number))
        drawn = np.sqrt(of_differences) * generator.standard_normal((len(entries), resamples, count))
        drawn += np.sqrt(max(0.0, of_entries - of_differences)) * generator.standard_normal(
            (resamples, count)
        )
        means = drawn.mean(axis=2)
        blocks.append(_Block(np.array(entries), measured[:, None], means, drawn - means[..., None]))
    return blocks


def _group_size(values: Values, noise: _Noise) -> int:
    """How many of the sorted entries cannot be told apart from the first."""
    unknown = np.isnan(noise.documents)
    if not unknown.any():
        return _largest_equal(values, noise)
    for size in range(len(values), 1, -1):  # which resamples can be used depends on which entries are at hand
        some = np.flatnonzero(~unknown[:size].all(axis=1))
        usable = np.flatnonzero(~unknown[some].any(axis=0))
        if len(some) < 2 or not usable.size:
            return size
        at_hand = noise.take(some)
        at_hand = replace(at_hand, documents=at_hand.documents[:, usable])
        if _largest_equal(values[some], at_hand) == len(some):
            return size
    return 1


def _largest_equal(values: Values, noise: _Noise) -> int:
    """How many of the sorted entries may be equal, one at least, as far as all resamples say."""
    entries = len(values)
    documents = noise.documents - noise.documents.mean(axis=1, keepdims=True)
    # Variances of all differences, from the covariances.
    covariance = documents @ documents.T / max(1, documents.shape[1])
    variance = covariance.diagonal()
    of_documents = np.maximum(variance[:, None] + variance - 2 * covariance, 0.0)
    by_documents = _largest(documents, lambda best: of_documents[:, best])
    means = np.zeros((entries, max((block.means.shape[1] for block in noise.blocks), default=1)))
    for block in noise.blocks:
        means[block.entries] = block.means
    drawn = [(block.entries, block.drawn) for block in noise.blocks]
    by_seeds = _largest(means, lambda best: _over_seeds(drawn, best, entries))
    first = np.zeros(1, dtype=np.int64)
    measured = [(block.entries, block.measured) for block in noise.blocks]
    of_seeds = _over_seeds(measured, first, entries)[:, 0]
    for size in range(entries, 1, -1):
        far = np.sqrt(by_documents[size - 1] ** 2 * of_documents[0] + by_seeds[size - 1] ** 2 * of_seeds)
        if (values[0] - values[:size] <= far[:size] + 1e-12).all():
            return size
    return 1


def _largest(drawn: Values, variances: Callable[[NDArray[np.int64]], Values]) -> Values:
    """How many standard deviations the best of the first entries is above another at most, 97 % of the time.

    Args:
        drawn: what equal entries have, shape (entries, resamples).
        variances: given the place of an entry for each resample, the variances of all entries' differences
            to it, of the same shape.

    Returns:
        Of the first one, two, … entries, shape (entries,).
    """
    best_so_far = np.maximum.accumulate(drawn, axis=0)
    is_new = np.ones(drawn.shape, dtype=bool)  # the entries that are better than all before them
    is_new[1:] = drawn[1:] > best_so_far[:-1]
    turn = is_new.cumsum(axis=0)
    apart, columns = np.zeros(drawn.shape), np.arange(drawn.shape[1])
    for number in range(1, int(turn.max(initial=0)) + 1):
        is_best = turn == number
        best = is_best.argmax(axis=0)
        differences, spread = drawn[best, columns] - drawn, np.sqrt(variances(best))
        deviations = np.divide(differences, spread, out=np.zeros_like(spread), where=spread > 1e-12)
        most = np.maximum.accumulate(deviations, axis=0)
        apart[is_best] = most[is_best]
    return np.quantile(apart, _LEVEL, axis=1) if apart.size else np.zeros(len(drawn))


def _over_seeds(
    blocks: Sequence[tuple[NDArray[np.int64], Values]], best: NDArray[np.int64], entries: int
) -> Values:
    """Variance of each entry's difference to the best one, as a mean over seeds: (entries, resamples).

    Args:
        blocks: places, and deviations from the mean of shape (entries of the block, resamples, seeds).
        best: the place of the best entry of each resample.
        entries: how many there are.
    """
    own = np.zeros((entries, len(best)))
    for places, apart in blocks:
        own[places] = (apart**2).sum(axis=2) / (apart.shape[2] * (apart.shape[2] - 1))
    variances = own + own[best, np.arange(len(best))]
    for places, apart in blocks:
        # Seeds are paired with those of the best where it has the same ones.
        at = np.full(entries, -1)
        at[places] = np.arange(len(places))
        paired = np.flatnonzero(at[best] >= 0)
        of_best = apart[at[best[paired]], paired]
        shared = np.einsum("ers,rs->er", apart[:, paired], of_best)
        variances[np.ix_(places, paired)] -= 2 * shared / (apart.shape[2] * (apart.shape[2] - 1))
    return np.maximum(variances, 0.0)
