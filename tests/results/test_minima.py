"""Intervals of minima, on draws whose distribution is known."""

import numpy as np
import pytest

from results.intervals import percentile_interval
from results.minima import difference, mean_interval

DRAWN = np.random.default_rng(0).normal(size=(4, 100_000))


def reach(parts: np.ndarray) -> float:
    """How far up the interval reaches, from the least of what was measured."""
    interval = mean_interval([(parts, None)])
    assert interval is not None
    return interval.high - parts.mean(axis=1).min()


@pytest.mark.parametrize(("contenders", "sigmas"), [(1, 1.960), (2, 2.236), (3, 2.390), (4, 2.494)])
def test_the_upper_limit_holds_for_all_contenders_at_once(contenders: int, sigmas: float) -> None:
    # Φ⁻¹(0.975^(1/contenders)): none of so many independent normal numbers lies beyond, 97.5 % of the time.
    assert reach(DRAWN[:contenders]) == pytest.approx(sigmas, abs=0.02)


def test_a_task_that_is_never_the_worst_changes_nothing() -> None:
    assert mean_interval([(np.stack([DRAWN[0], DRAWN[1] + 20]), None)]) == mean_interval([(DRAWN[0], None)])


def test_what_always_varies_together_counts_once() -> None:
    """The gap's parts share the average's noise."""
    assert reach(np.stack([DRAWN[0], DRAWN[0] + 1e-9])) == pytest.approx(1.960, abs=0.02)


def test_of_one_part_it_is_the_percentile_interval() -> None:
    skewed = np.exp(DRAWN[0, :999])
    own, percentiles = mean_interval([(skewed, None)]), percentile_interval(skewed)
    assert own is not None
    assert percentiles is not None
    assert (own.low, own.high) == pytest.approx((percentiles.low, percentiles.high))
    mean, of_two = mean_interval([(skewed, None), (DRAWN[1, :999], None)]), (skewed + DRAWN[1, :999]) / 2
    assert mean is not None
    assert (mean.low, mean.high) == pytest.approx(tuple(np.percentile(of_two, [2.5, 97.5])))


def test_the_lower_limit_is_the_least_of_the_tasks() -> None:
    parts = DRAWN[:3, :2000] * [[1], [2], [3]]
    interval = mean_interval([(parts, None)])
    assert interval is not None
    assert interval.low == pytest.approx(np.percentile(parts, 2.5, axis=1).min())


def test_a_noisy_contender_does_not_widen_what_a_precise_one_says() -> None:
    parts = np.stack([0.5 + 0.03 * DRAWN[0], 0.8 + 0.15 * DRAWN[1]])
    assert reach(parts) == pytest.approx(0.03 * 2.236, abs=0.002)


def test_means_over_seeds_are_narrower_and_hold_for_all_choices_of_worst_tasks() -> None:
    seeds = [(draws, None) for draws in np.random.default_rng(1).normal(size=(3, 2, 20_000))]
    interval = mean_interval(seeds)
    assert interval is not None
    # Were the worst tasks known, the mean of three would reach up by 1.96 / √3.
    assert 1.96 / 3**0.5 < interval.high < 2.236
    assert interval.low == pytest.approx(-1.96 / 3**0.5, abs=0.03)


def test_differences_turn_round_and_are_zero_between_equals() -> None:
    first, second = DRAWN[:2, :2000], DRAWN[2:, :2000] + 0.3
    there, back = difference(0.2, first, second), difference(-0.2, second, first)
    assert there is not None
    assert back is not None
    assert (back.low, back.high) == (-there.high, -there.low)
    same = difference(0.0, first, first)
    assert same is not None
    assert (same.low, same.high) == (0, 0)


def test_resamples_without_a_value_are_left_out() -> None:
    parts = DRAWN[:2, :500].copy()
    parts[1, ::5] = np.nan
    kept = np.delete(parts, np.s_[::5], axis=1)
    assert mean_interval([(parts, None)]) == mean_interval([(kept, None)])
    assert mean_interval([(np.full((2, 9), np.nan), None)]) is None
    assert difference(0.0, DRAWN[0, :9], np.full(9, np.nan)) is None
