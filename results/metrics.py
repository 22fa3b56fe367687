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

Scores are arrays of shape (resamples,), or (1,) of what was measured. NaN stands for a value that is not
known; what needs it is NaN too. Benchmarks that are left out count in no aggregate, nor does a task with
none left.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from results.errors import InputError
from results.intervals import Draws, least_of
from results.suite import BenchmarkSpec, SuiteSpec

Score = TypeVar("Score", float, NDArray[np.float64])


@dataclass(frozen=True)
class Performance:
    """Normalised performance of one checkpoint, each array of shape (resamples,).

    Attributes:
        average: over benchmarks.
        tasks: NP_t of every task that counts.
        benchmarks: NP_b of every benchmark that measures a task.
        scores: on every benchmark that was scored, on the benchmark's own scale.
        forgetting: the difference to the base on every benchmark that watches it and was scored.
    """

    average: Draws
    tasks: Mapping[str, Draws] = field(default_factory=dict)
    benchmarks: Mapping[str, Draws] = field(default_factory=dict)
    scores: Mapping[str, Draws] = field(default_factory=dict)
    forgetting: Mapping[str, Draws] = field(default_factory=dict)

    @property
    def worst_task(self) -> Draws:
        """The least of the tasks."""
        return least_of(self.parts("worst_task"))

    @property
    def gap(self) -> Draws:
        """How far the worst task lies from the average: negative unless all tasks are equal."""
        return least_of(self.parts("gap"))

    def parts(self, statistic: str) -> Draws:
        """What a statistic is the least of in every resample, shape (parts, resamples).

        Args:
            statistic: "worst_task", which is the least of the tasks; "gap", which is the least of
                task − average; "average", "anp" or the name of a task, which have one part.
        """
        if statistic == "average" or not self.tasks:
            return self.average[None]
        if statistic in self.tasks:
            return self.tasks[statistic][None]
        of_tasks = np.stack(list(self.tasks.values()))
        parts: dict[str, Draws] = {
            "worst_task": of_tasks,
            "gap": of_tasks - self.average,
            "anp": of_tasks.mean(axis=0, keepdims=True),
        }
        return parts[statistic]


def mapped(benchmark: BenchmarkSpec, score: Score) -> Score:
    """The score, or the scores, on the scale on which higher is better: s, or 1 − s where lower is better."""
    return score if benchmark.higher_is_better else 1 - score


def normalised_performance(benchmark: BenchmarkSpec, score: Draws, reference: Draws) -> Draws:
    """NP_b, a checkpoint's score over the score of the task's expert.

    Args:
        benchmark: for its direction.
        score: the checkpoint's, as the benchmark reports it.
        reference: the expert's, as the benchmark reports it.

    Returns:
        NaN where the reference is zero (or, on an unbounded metric, below).
    """
    denominator = mapped(benchmark, reference)
    unknown = np.full(denominator.shape, np.nan)
    return np.divide(mapped(benchmark, score), denominator, out=unknown, where=denominator > 0)


def reference_note(benchmark: BenchmarkSpec, reference: float) -> str | None:
    """What the reader of NP_b should know of an expert's score, as the benchmark reports it.

    None where it is above chance. At or below chance the quotient compares two guesses.
    """
    denominator = mapped(benchmark, reference)
    if denominator <= 0:
        return f"{benchmark.name}: no normalised performance, because the expert scores {denominator:.3g}"
    if denominator <= benchmark.chance:
        return f"{benchmark.name}: the expert scores {denominator:.3g}, chance is {benchmark.chance:.3g}"
    return None


def performance(
    suite: SuiteSpec,
    scores: Mapping[str, Mapping[str, Draws]],
    checkpoint: str,
    references: Mapping[str, str],
    base: str | None = None,
    *,
    resamples: int = 1,
    left_out: Collection[str] = (),
) -> Performance:
    """Normalised performance of a checkpoint, and its aggregates.

    Args:
        suite: tasks and benchmarks.
        scores: by benchmark and checkpoint, those that were measured or resampled.
        checkpoint: whose performance.
        references: by task, the expert whose score is divided by.
        base: the checkpoint that forgetting is a difference to, if there is one.
        resamples: how many there are; they say the shape where nothing was scored.
        left_out: names of benchmarks that do not count.
    """
    unknown = np.full(resamples, np.nan)

    def on(benchmark: BenchmarkSpec, reference: str) -> Draws:
        scored = scores.get(benchmark.name, {})
        if checkpoint not in scored or reference not in scored:
            return unknown
        return normalised_performance(benchmark, scored[checkpoint], scored[reference])

    each = {
        benchmark.name: on(benchmark, references[task])
        for task, benchmarks in suite.tasks.items()
        for benchmark in benchmarks
    }
    counted = {
        task: [each[benchmark.name] for benchmark in benchmarks]
        for task, benchmarks in suite.counted(left_out).items()
    }
    every = [of_benchmark for of_task in counted.values() for of_benchmark in of_task]
    return Performance(
        average=np.mean(every, axis=0) if every else unknown,
        tasks={task: np.mean(of_task, axis=0) for task, of_task in counted.items()},
        benchmarks=each,
        scores={name: scored[checkpoint] for name, scored in scores.items() if checkpoint in scored},
        forgetting={
            benchmark.name: mapped(benchmark, scored[checkpoint]) - mapped(benchmark, scored[base])
            for benchmark in suite.forgetting
            for scored in [scores.get(benchmark.name, {})]
            if base is not None and checkpoint in scored and base in scored
        },
    )


def average_from_tasks(tasks: Mapping[str, float], benchmarks: Mapping[str, int]) -> float:
    """The average over benchmarks, from NP_t and the number of benchmarks of every task.

    Raises:
        InputError: the two name different tasks.
    """
    if set(tasks) != set(benchmarks):
        odd = sorted(set(tasks) ^ set(benchmarks))[0]
        raise InputError(f"task {odd}: give both its performance and its number of benchmarks")
    return sum(tasks[task] * count for task, count in benchmarks.items()) / sum(benchmarks.values())
