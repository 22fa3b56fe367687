"""Means over seeds with Student's intervals, and differences of the same seed."""

import numpy as np
import pytest
from made_up_family import SUITE

from results.comparison import compare
from results.merge_trace import MethodIdentity
from results.pooled import gains, merged_methods
from results.run_manifest import Run, RunSettings

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
            about = {
                "method": "ties",
                "title": "ties",
                "identity": MethodIdentity(method="ties"),
                "protocol": protocol,
                "seed": seed,
            }
            family.add(label, "merged", scores, **about)
    return compare(
        Run(name="made up", suite=SUITE, settings=RunSettings(), entries=tuple(family.entries)),
        family.store,
        resamples=50,
    )


def test_means_have_students_interval(comparison):
    once, many = merged_methods(comparison)
    assert (once.title, once.protocol, many.protocol) == ("ties", "post-hoc", "many-shot")
    spread = once.aggregate("worst_task")
    # t(0.975, 2) = 4.302653; the standard deviation of 0.2, 0.3, 0.4 is 0.1.
    half = 4.302653 * 0.1 / 3**0.5
    assert (spread.value, *_ends(spread.seeds)) == pytest.approx((0.3, 0.3 - half, 0.3 + half), abs=1e-6)
    assert len(spread.values) == 3


def test_differences_are_of_the_same_seed(comparison):
    (gain,) = gains(comparison)
    spread = gain.differences["worst_task"]
    # 0.3, 0.2, 0.4: their standard deviation is 0.1 too.
    half = 4.302653 * 0.1 / 3**0.5
    assert (spread.value, *_ends(spread.seeds)) == pytest.approx((0.3, 0.3 - half, 0.3 + half), abs=1e-6)
    assert gain.differences["average"].value == pytest.approx(0.3 / 4)


def test_the_interval_over_documents_is_of_the_mean_of_these_seeds(comparison):
    (gain,) = gains(comparison)
    pairs = [(f"ties, many-shot, seed {seed}", f"ties, seed {seed}") for seed in range(3)]
    drawn = [comparison.row(a).resampled.average - comparison.row(b).resampled.average for a, b in pairs]
    expected = np.percentile(sum(drawn) / 3, [2.5, 97.5])
    assert _ends(gain.differences["average"].documents) == pytest.approx(tuple(expected), abs=1e-12)


def test_one_seed_has_documents_but_no_interval_over_seeds(family):
    full = {"gsm8k": [1.0] * 10, "m_mmlu": [1.0] * 10, "m_arc": [1.0] * 10, "xstest": [0.0] * 10}
    for task in SUITE.tasks:
        family.add(f"{task} expert", "expert", full, task=task)
    half = full | {"gsm8k": [1.0, 0.0] * 5}
    family.add("ties", "merged", half, method="ties", title="ties", protocol="post-hoc", seed=0)
    (one,) = merged_methods(
        compare(
            Run(name="made up", suite=SUITE, settings=RunSettings(), entries=tuple(family.entries)),
            family.store,
            resamples=50,
        )
    )
    spread = one.aggregate("worst_task")
    assert (spread.value, len(spread.values), spread.seeds) == (0.5, 1, None)
    assert spread.documents.low < 0.5 < spread.documents.high


def _ends(interval):
    return interval.low, interval.high


def test_the_spread_of_a_task_is_that_of_its_seeds(comparison):
    _, many = merged_methods(comparison)
    rows = many.rows
    assert [row.seed for row in rows] == [0, 1, 2]
    found = many.statistic("math")
    assert found.value == pytest.approx(sum(MANY) / 3) and len(found.values) == 3
    mean = np.mean([row.resampled.tasks["math"] for row in rows], axis=0)
    assert _ends(found.documents) == pytest.approx(tuple(np.percentile(mean, [2.5, 97.5])))
