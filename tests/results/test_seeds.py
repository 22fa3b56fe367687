"""Means over seeds with Student's intervals, and differences of the same seed."""

import pytest
from made_up_family import SUITE

from results.comparison import compare
from results.run import Run
from results.seeds import gains, over_seeds

# Of the base's math benchmark, one value for each of three seeds.
ONCE, MANY = (0.2, 0.3, 0.4), (0.5, 0.5, 0.8)


@pytest.fixture
def comparison(family):
    def documents(share):
        return [1.0] * round(10 * share) + [0.0] * (10 - round(10 * share))

    full = {"gsm8k": documents(1), "m_mmlu": documents(1), "m_arc": documents(1), "xstest": documents(0)}
    for task in SUITE.tasks:
        family.add(f"{task} expert", "expert", full, task=task)
    for protocol, values in (("post-hoc", ONCE), ("many-shot", MANY)):
        for seed, value in enumerate(values):
            label = f"ties{', many-shot' if protocol == 'many-shot' else ''}, seed {seed}"
            scores = full | {"gsm8k": documents(value)}
            about = {"method": "ties", "title": "ties", "pair": "ties", "protocol": protocol, "seed": seed}
            family.add(label, "merged", scores, **about)
    return compare(Run("made up", SUITE, {}, tuple(family.entries)), family.store, resamples=50)


def test_means_have_students_interval(comparison):
    once, many = over_seeds(comparison)
    assert (once.method, once.protocol, many.protocol) == ("ties", "post-hoc", "many-shot")
    spread = once.spreads["worst_task"]
    # t(0.975, 2) = 4.302653; the standard deviation of 0.2, 0.3, 0.4 is 0.1.
    half = 4.302653 * 0.1 / 3**0.5
    assert (spread.mean, spread.low, spread.high) == pytest.approx((0.3, 0.3 - half, 0.3 + half), abs=1e-6)
    assert spread.n == 3


def test_differences_are_of_the_same_seed(comparison):
    (gain,) = gains(comparison)
    spread = gain.spreads["worst_task"]
    # 0.3, 0.2, 0.4: their standard deviation is 0.1 too.
    half = 4.302653 * 0.1 / 3**0.5
    assert (spread.mean, spread.low, spread.high) == pytest.approx((0.3, 0.3 - half, 0.3 + half), abs=1e-6)
    assert gain.spreads["average"].mean == pytest.approx(0.3 / 4)
