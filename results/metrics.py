"""From scores to normalised performance, its average, the worst task, the gap, and forgetting.

For benchmark b, m the merged checkpoint, e(b) the standalone expert of b's task, with scores s mapped so
that higher is better:

    NP_b     = s_m(b) / s_e(b)(b)
    average  = mean of NP_b over benchmarks        (METIS, arXiv 2606.16501)
    NP_t     = mean of NP_b over the benchmarks of task t
    worst    = least NP_t
    gap      = worst − average
    ANP      = mean of NP_t over tasks             (DivMerge, arXiv 2509.02108)
    forgetting_b = s_m(b) − s_0(b), 0 the base

None stands for a value that is not known; what needs it is None too. Benchmarks that are left out count
nowhere, nor does a task with none left.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from results.errors import InputError
from results.suite import BenchmarkSpec, SuiteSpec

Score = TypeVar("Score", float, NDArray[np.float64])


@dataclass(frozen=True)
class NormalisedPerformance:
    """Normalised performance on one benchmark.

    Attributes:
        value: the quotient, None where the reference cannot be divided by.
        note: what the reader should know of it, None where there is nothing to say.
    """

    value: float | None
    note: str | None = None


def mapped(benchmark: BenchmarkSpec, score: Score) -> Score:
    """The score, or the scores, on the scale on which higher is better: s, or 1 − s where lower is better."""
    return score if benchmark.higher_is_better else 1 - score


def normalised_performance(benchmark: BenchmarkSpec, score: float, reference: float) -> NormalisedPerformance:
    """NP_b, a checkpoint's score over the score of the task's expert.

    Args:
        benchmark: for its direction and its chance level.
        score: the checkpoint's, as the benchmark reports it.
        reference: the expert's, as the benchmark reports it.

    Returns:
        No value where the reference is zero (or, on an unbounded metric, below). A value with a note where
        the reference is at or below chance: the quotient then compares two guesses.
    """
    denominator = mapped(benchmark, reference)
    if denominator <= 0:
        return NormalisedPerformance(
            None, f"{benchmark.name}: no normalised performance, because the expert scores {denominator:.3g}"
        )
    value = mapped(benchmark, score) / denominator
    if denominator <= benchmark.chance:
        note = f"{benchmark.name}: the expert scores {denominator:.3g}, chance is {benchmark.chance:.3g}"
        return NormalisedPerformance(value, note)
    return NormalisedPerformance(value)


def task_performance(
    suite: SuiteSpec, performance: Mapping[str, float | None], left_out: Collection[str] = ()
) -> dict[str, float | None]:
    """NP_t of every task: the mean over its benchmarks, None where one of them has no value.

    Args:
        suite: which benchmarks measure which task.
        performance: NP_b by benchmark; a benchmark that is not in it has no value.
        left_out: names of benchmarks that do not count.
    """
    return {
        task: _mean(performance.get(benchmark.name) for benchmark in benchmarks)
        for task, benchmarks in suite.counted(left_out).items()
    }


def average(
    suite: SuiteSpec, performance: Mapping[str, float | None], left_out: Collection[str] = ()
) -> float | None:
    """The mean of NP_b over all benchmarks that measure a task, None where one of them has no value."""
    counted = suite.counted(left_out).values()
    return _mean(performance.get(benchmark.name) for benchmarks in counted for benchmark in benchmarks)


def average_from_tasks(tasks: Mapping[str, float], benchmarks: Mapping[str, int]) -> float:
    """The average over benchmarks, from NP_t and the number of benchmarks of every task.

    Raises:
        InputError: the two name different tasks.
    """
    if set(tasks) != set(benchmarks):
        odd = sorted(set(tasks) ^ set(benchmarks))[0]
        raise InputError(f"task {odd}: give both its performance and its number of benchmarks")
    return sum(tasks[task] * count for task, count in benchmarks.items()) / sum(benchmarks.values())


def worst_task(tasks: Mapping[str, float | None]) -> float | None:
    """The least NP_t, None where a task has no value: the missing one could be the worst."""
    known = [value for value in tasks.values() if value is not None]
    return min(known) if known and len(known) == len(tasks) else None


def gap(worst: float | None, mean: float | None) -> float | None:
    """How far the worst task lies from the average: worst − average, negative unless all tasks are equal."""
    return None if worst is None or mean is None else worst - mean


def anp(tasks: Mapping[str, float | None]) -> float | None:
    """Average normalised performance of DivMerge: the mean of NP_t over tasks, each task counting once."""
    return _mean(tasks.values())


def forgetting(benchmark: BenchmarkSpec, score: float | None, base: float | None) -> float | None:
    """s_m(b) − s_0(b), on the scale on which higher is better: negative where something was forgotten."""
    if score is None or base is None:
        return None
    return mapped(benchmark, score) - mapped(benchmark, base)


def _mean(values: Iterable[float | None]) -> float | None:
    listed = list(values)
    known = [value for value in listed if value is not None]
    return sum(known) / len(known) if known and len(known) == len(listed) else None
