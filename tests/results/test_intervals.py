"""On scores with a known truth the 95 % intervals hold it as often as they say, also where tasks tie."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np
import pytest

from results.bootstrap import DocumentScores, resample_scores
from results.intervals import Interval, percentile_interval
from results.metrics import performance
from results.minima import PairedDifference, difference, mean_interval
from results.suite import BenchmarkSpec, SuiteSpec

pytestmark = pytest.mark.full
REPLICATIONS, RESAMPLES = 1000, 400
EXPERT = (0.8, 0.8, 0.85, 0.9)
# Probabilities of a right answer by task. At 100 documents a task's performance is known to 0.06 (one σ).
MERGED = {
    "one is clearly the worst": (0.4, 0.7, 0.75, 0.8),
    "two tie": (0.48, 0.48, 0.8, 0.85),
    "two nearly tie": (0.48, 0.51, 0.8, 0.85),
    "two are near": (0.48, 0.58, 0.8, 0.85),
    "all tie": (0.6, 0.6, 0.6375, 0.675),
}
TASKS = [f"task {index}" for index in range(len(EXPERT))]
SUITE = SuiteSpec(name="simulated", tasks={task: (BenchmarkSpec(name=task, metric="acc"),) for task in TASKS})
PAIRS = [("all tie", "one is clearly the worst"), ("two tie", "all tie")]
SEEDS = ["two tie", "two nearly tie", "all tie"]
SIZES = [100, 500]
CASES = [(documents, name) for documents in SIZES for name in MERGED]


@dataclass(frozen=True)
class Replication:
    """By name of a merged checkpoint, its intervals."""

    average: Mapping[str, Interval]
    worst_task: Mapping[str, Interval]
    gap: Mapping[str, Interval]
    percentiles: Mapping[str, Interval]
    differences: Mapping[tuple[str, str], PairedDifference]
    over_seeds: Interval


def scored(generator: np.random.Generator, documents: int, task: int) -> dict[str, np.ndarray]:
    """Answers of the expert and the merged checkpoints, right or wrong; some documents are hard for all."""
    hard = generator.normal(size=documents)
    found = {}
    for name, probabilities in {"expert": EXPERT, **MERGED}.items():
        own = np.sqrt(0.5) * (hard + generator.normal(size=documents))
        found[name] = (own < NormalDist().inv_cdf(probabilities[task])).astype(float)[None]
    return found


def replication(documents: int, seed: int) -> Replication:
    generator = np.random.default_rng([documents, seed])
    drawn = {
        task: resample_scores(
            DocumentScores(task, "acc", {task: scored(generator, documents, index)}),
            resamples=RESAMPLES,
            seed=seed,
        )
        for index, task in enumerate(TASKS)
    }
    references = dict.fromkeys(TASKS, "expert")
    found = {name: performance(SUITE, drawn, name, references, resamples=RESAMPLES) for name in MERGED}
    parts = {name: one.parts("worst_task") for name, one in found.items()}
    return Replication(
        average={name: percentile_interval(one.average) for name, one in found.items()},
        worst_task={name: mean_interval([(one, None)]) for name, one in parts.items()},
        gap={name: mean_interval([(one.parts("gap"), None)]) for name, one in found.items()},
        percentiles={name: percentile_interval(one.worst_task) for name, one in found.items()},
        differences={pair: difference(0.0, *(parts[name] for name in pair)) for pair in PAIRS},
        over_seeds=mean_interval([(parts[name], None) for name in SEEDS]),
    )  # type: ignore[arg-type]


@cache
def replications(documents: int) -> list[Replication]:
    return [replication(documents, seed) for seed in range(REPLICATIONS)]


def truth(name: str) -> np.ndarray:
    return np.array(MERGED[name]) / EXPERT


def coverage(intervals: Sequence[Interval | PairedDifference], value: float) -> float:
    return float(np.mean([one.low <= value <= one.high for one in intervals]))


@pytest.mark.parametrize(("documents", "name"), CASES)
def test_the_average_is_covered_95_times_of_100(documents: int, name: str) -> None:
    found = coverage([one.average[name] for one in replications(documents)], truth(name).mean())
    assert 0.93 <= found <= 0.97


@pytest.mark.parametrize(("documents", "name"), CASES)
def test_the_worst_task_and_the_gap_are_covered_also_where_tasks_tie(documents: int, name: str) -> None:
    worst, average = truth(name).min(), truth(name).mean()
    assert coverage([one.worst_task[name] for one in replications(documents)], worst) >= 0.93
    assert coverage([one.gap[name] for one in replications(documents)], worst - average) >= 0.93


@pytest.mark.parametrize("documents", SIZES)
def test_differences_of_worst_tasks_are_covered(documents: int) -> None:
    for one, two in PAIRS:
        intervals = [found.differences[one, two] for found in replications(documents)]
        assert coverage(intervals, truth(one).min() - truth(two).min()) >= 0.93


@pytest.mark.parametrize("documents", SIZES)
def test_means_of_worst_tasks_over_seeds_are_covered(documents: int) -> None:
    mean = float(np.mean([truth(name).min() for name in SEEDS]))
    assert coverage([found.over_seeds for found in replications(documents)], mean) >= 0.93


@pytest.mark.parametrize("documents", SIZES)
def test_where_one_task_is_clearly_the_worst_the_interval_is_no_wider_than_its_own(documents: int) -> None:
    name = "one is clearly the worst"
    found = replications(documents)
    widths = [one.worst_task[name].high - one.worst_task[name].low for one in found]
    percentiles = [one.percentiles[name].high - one.percentiles[name].low for one in found]
    assert np.mean(widths) <= 1.05 * np.mean(percentiles)


def test_percentiles_of_the_minimum_would_miss_where_tasks_tie() -> None:
    """What the intervals are made for: if this fails, they are wider than they need to be."""
    found = coverage([one.percentiles["all tie"] for one in replications(100)], truth("all tie").min())
    assert found < 0.7
