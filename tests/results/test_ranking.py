"""Rank groups: equals stay together, however many; what is clearly worse comes later."""

import numpy as np
import pytest

from results.ranking import _blocks, _largest_equal, _Noise, rank_groups

pytestmark = pytest.mark.slow

REPLICATIONS, RESAMPLES, DOCUMENTS = 300, 400, 100


def scored(probabilities: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Measured shares of right answers, shape (tasks, entries), and their paired resamples.

    Args:
        probabilities: of a right answer, shape (tasks, entries).
        seed: of one replication.
    """
    generator = np.random.default_rng(seed)
    measured, drawn = [], []
    for of_task in probabilities:
        hard = generator.normal(size=(1, DOCUMENTS))
        own = generator.normal(size=(len(of_task), DOCUMENTS))
        ranks = ((hard + own) / np.sqrt(2)).argsort(axis=None).argsort().reshape(own.shape) / own.size
        right = (ranks < of_task[:, None]).astype(float)
        counts = generator.multinomial(DOCUMENTS, np.full(DOCUMENTS, 1 / DOCUMENTS), size=RESAMPLES)
        measured.append(right.mean(axis=1))
        drawn.append(right @ counts.T / DOCUMENTS)
    return np.array(measured), np.array(drawn)


def together(statistic, tasks: tuple[float, ...], entries: int) -> float:
    """How often entries of equal performance on every task are all in the first group."""
    found = []
    for seed in range(REPLICATIONS):
        measured, drawn = scored(np.tile(np.array(tasks)[:, None], entries), seed)
        found.append(set(rank_groups(statistic(measured), list(statistic(drawn)))) == {1})
    return float(np.mean(found))


@pytest.mark.parametrize("entries", [2, 5, 20])
def test_equal_entries_share_the_first_group(entries: int) -> None:
    assert together(lambda of_tasks: of_tasks.mean(axis=0), (0.7, 0.8), entries) >= 0.9


@pytest.mark.parametrize("tasks", [(0.7, 0.8, 0.9), (0.7, 0.7, 0.7)])
@pytest.mark.parametrize("entries", [2, pytest.param(20, marks=pytest.mark.full)])
def test_so_they_do_by_their_worst_tasks(entries: int, tasks: tuple[float, ...]) -> None:
    assert together(lambda of_tasks: of_tasks.min(axis=0), tasks, entries) >= 0.9


def equal_with_seeds(entries: int, seeds: int, documents: float, *, paired: bool, replications: int) -> float:
    """How often equal entries are all in the first group: seeds vary by 1, documents by what is said."""
    found = []
    for replication in range(replications):
        generator = np.random.default_rng(replication)
        by_seed = documents * generator.normal(size=(entries, 1)) + generator.normal(size=(entries, seeds))
        by_seed += generator.normal(size=seeds) * paired
        values = by_seed.mean(axis=1)
        draws = values[:, None] + documents * generator.normal(size=(entries, RESAMPLES))
        names = [
            {(place * (not paired), seed): one for seed, one in enumerate(each)}
            for place, each in enumerate(by_seed)
        ]
        found.append(set(rank_groups(values.tolist(), list(draws), names)) == {1})
    return float(np.mean(found))


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("documents", [0.01, 0.3, 1.0])
@pytest.mark.parametrize(("entries", "seeds"), [(2, 3), (10, 2), (10, 5)])
def test_entries_that_only_seeds_set_apart_share_the_first_group(
    entries: int, seeds: int, documents: float, paired: bool
) -> None:
    """A share of .95 in 200 replications has a standard error of .015."""
    assert equal_with_seeds(entries, seeds, documents, paired=paired, replications=200) >= 0.92


@pytest.mark.full
@pytest.mark.parametrize("documents", [0.01, 0.3, 1.0, 3.0])
@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("entries", [2, 5, 10])
def test_so_they_do_whichever_varies_more(entries: int, seeds: int, documents: float) -> None:
    assert equal_with_seeds(entries, seeds, documents, paired=True, replications=500) >= 0.93


def test_what_seeds_agree_on_is_told_apart_and_what_they_do_not_is_not() -> None:
    draws = [0.6 + np.zeros(400), 0.5 + np.zeros(400)]
    assert rank_groups([0.6, 0.5], draws) == [1, 2]
    assert rank_groups([0.6, 0.5], draws, [{0: 0.75, 1: 0.45}, {0: 0.45, 1: 0.55}]) == [1, 1]
    # Both vary by the seed, but alike.
    assert rank_groups([0.6, 0.5], draws, [{0: 0.75, 1: 0.45}, {1: 0.351, 0: 0.649}]) == [1, 2]
    # Without the same seeds that is no reason.
    assert rank_groups([0.6, 0.5], draws, [{0: 0.75, 1: 0.45}, {2: 0.351, 3: 0.649}]) == [1, 1]
    # One seed says nothing of how seeds vary.
    assert rank_groups([0.6, 0.5], draws, [{0: 0.6}, {0: 0.5}]) == [1, 2]


def test_seeds_alone_are_enough() -> None:
    unknown = [np.empty(0)] * 2
    each = [{seed: 0.6 + 0.01 * seed for seed in range(3)}, {seed: 0.5 - 0.01 * seed for seed in range(3)}]
    assert rank_groups([0.61, 0.49], unknown, each) == [1, 2]


def test_what_is_clearly_worse_is_told_apart_and_hides_nothing() -> None:
    """Two equals, and 18 others that lie four to five standard deviations of a difference below them."""
    levels = np.array([[0.85] * 2 + [0.6] * 18])
    cut, whole = [], []
    for seed in range(50):
        measured, drawn = scored(levels, seed)
        groups = rank_groups(measured[0], list(drawn[0]))
        cut.append(min(groups[2:]) > 1)
        whole.append(groups[:2] == [1, 1])
    assert np.mean(cut) >= 0.9
    assert np.mean(whole) >= 0.9


def test_three_levels_are_three_groups_in_the_order_of_the_entries() -> None:
    levels = np.array([[0.3, 0.9, 0.6, 0.9, 0.3]])
    measured, drawn = scored(levels, 0)
    assert rank_groups(measured[0], list(drawn[0])) == [3, 1, 2, 1, 3]


def test_groups_have_no_gaps_in_the_sorted_order() -> None:
    """The second is known so well that it is worse; the third is not, but stands below it."""
    noise = np.random.default_rng(0).normal(size=(3, 1000))
    draws = [0.9 + 0.01 * noise[0], 0.8 + 0.01 * noise[1], 0.7 + 0.5 * noise[2]]
    assert rank_groups([0.9, 0.8, 0.7], draws) == [1, 2, 2]


def test_pairs_that_vary_together_are_told_apart_by_little() -> None:
    shared = np.random.default_rng(0).normal(size=1000)
    assert rank_groups([0.52, 0.5, 0.5], [shared + 0.52, shared + 0.5, shared + 0.5]) == [1, 2, 2]


def test_unknown_resamples_are_left_out_and_an_entry_without_any_is_not_told_apart() -> None:
    noise = np.random.default_rng(0).normal(scale=0.01, size=(2, 1000))
    first, second = 0.9 + noise[0], 0.7 + noise[1]
    first[::3] = np.nan
    assert rank_groups([0.9, 0.7], [first, second]) == [1, 2]
    assert rank_groups([0.9, 0.7], [first, np.full(1000, np.nan)]) == [1, 1]
    assert rank_groups([0.9], [first]) == [1]
    assert rank_groups([], []) == []


@pytest.mark.parametrize("seed", range(5))
def test_a_group_is_as_large_as_the_largest_set_of_the_first_entries_that_may_be_equal(seed):
    """Whatever lies behind them: each size by itself says the same as all of them at once."""
    generator = np.random.default_rng(seed)
    values = np.sort(generator.uniform(0.2, 0.9, 12))[::-1]
    draws = [value + generator.normal(0, 0.03, RESAMPLES) for value in values]
    seeds = [{one: value + generator.normal(0, 0.02) for one in range(3)} for value in values]
    blocks = _blocks(seeds, RESAMPLES)
    whole = _Noise(np.stack(draws), blocks)
    equal = [
        size
        for size in range(1, len(values) + 1)
        if _largest_equal(values[:size], whole.take(np.arange(size))) == size
    ]
    assert _largest_equal(values, whole) == max(equal)
    assert 1 < max(equal) < len(values)
