"""Intervals from a paired bootstrap over documents.

One resample draws, with replacement, as many documents of every lm-eval task as it has, and scores all
checkpoints on that same draw. What two checkpoints share (hard documents, easy documents) then cancels in
quotients and differences, as it does in the measured values. Percentiles of what was drawn are intervals of
means and their quotients, but not of a minimum, such as the worst task: its intervals are made in
`results.minima`.
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from results.aggregation import from_means, terms
from results.errors import InputError
from results.metrics import mapped
from results.suite import SuiteSpec

RESAMPLES = 2000
_ENTRIES_AT_ONCE = 1 << 21

Draws = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """The limits of a 95 % interval."""

    low: float
    high: float


@dataclass(frozen=True)
class DocumentScores:
    """Scores of several checkpoints on the same documents of one benchmark.

    Attributes:
        benchmark: its name.
        metric: its primary metric.
        scores: by lm-eval task and checkpoint, what the metric is made of, an array of shape (terms,
            documents of the lm-eval task); the documents are in the same order for every checkpoint.
    """

    benchmark: str
    metric: str
    scores: Mapping[str, Mapping[str, Draws]]


@dataclass(frozen=True)
class ResampledPerformance:
    """Normalised performance of one checkpoint in every resample; NaN where it has no value.

    Attributes:
        average: shape (resamples,).
        worst_task: shape (resamples,).
        gap: shape (resamples,).
        anp: shape (resamples,).
        tasks: shape (resamples,) for every task.
        dropped: how many resamples gave the expert zero on a benchmark; only benchmarks where any did.
        scores: shape (resamples,) for every benchmark that was scored, on the benchmark's own scale.
        forgetting: shape (resamples,) for every benchmark that watches it, the difference to the base.
    """

    average: Draws
    worst_task: Draws
    gap: Draws
    anp: Draws
    tasks: Mapping[str, Draws]
    dropped: Mapping[str, int]
    scores: Mapping[str, Draws] = field(default_factory=dict)
    forgetting: Mapping[str, Draws] = field(default_factory=dict)

    def parts(self, statistic: str) -> Draws:
        """What a statistic is the least of in every resample, shape (parts, resamples).

        Args:
            statistic: "worst_task", which is the least of the tasks; "gap", which is the least of
                task − average; "average", "anp" or the name of a task, which have one part.
        """
        if statistic in {"worst_task", "gap"} and self.tasks:
            of_tasks = np.stack(list(self.tasks.values()))
            return of_tasks if statistic == "worst_task" else of_tasks - self.average
        alone: Draws = self.tasks[statistic] if statistic in self.tasks else getattr(self, statistic)
        return alone[None]


def align_documents(benchmark: str, metric: str, documents: Mapping[str, pd.DataFrame]) -> DocumentScores:
    """Match the documents of several checkpoints by (lm_eval_task, doc_id).

    Args:
        benchmark: its name, for messages.
        metric: its primary metric.
        documents: by checkpoint, a table with `lm_eval_task`, `doc_id` and what the metric is made of.

    Raises:
        InputError: two checkpoints were scored on different documents, or one twice on the same.
    """
    tables = {checkpoint: _indexed(benchmark, checkpoint, table) for checkpoint, table in documents.items()}
    first = next(iter(tables))
    for checkpoint, table in tables.items():
        if not table.index.equals(tables[first].index):
            odd = table.index.symmetric_difference(tables[first].index)
            raise InputError(
                f"benchmark {benchmark}: '{checkpoint}' and '{first}' were scored on different documents "
                f"({len(odd)} are not shared, for one {odd[0]}); score both on the same data"
            )
    scores: dict[str, dict[str, Draws]] = {}
    for checkpoint, table in tables.items():
        for lm_eval_task, part in table.groupby(level="lm_eval_task", sort=True):
            scores.setdefault(str(lm_eval_task), {})[checkpoint] = terms(metric, part)
    return DocumentScores(benchmark, metric, scores)


def resample_scores(
    documents: DocumentScores, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Draws]:
    """The benchmark's score in every resample: the mean over lm-eval tasks of the score of each.

    The drawn documents depend on the seed, the benchmark and the lm-eval task alone, so neither another
    checkpoint nor another benchmark changes them.

    Returns:
        An array of shape (resamples,) for every checkpoint.
    """
    totals: dict[str, Draws] = {}
    for lm_eval_task, scores in documents.scores.items():
        size = next(iter(scores.values())).shape[1]
        generator = generator_of(seed, documents.benchmark, lm_eval_task)
        values = {checkpoint: np.empty(resamples) for checkpoint in scores}
        step = max(1, _ENTRIES_AT_ONCE // size)
        for start in range(0, resamples, step):
            stop = min(start + step, resamples)
            drawn = generator.integers(0, size, size=(stop - start, size))
            for checkpoint, one in scores.items():
                means = np.stack([term.take(drawn).mean(axis=1) for term in one])
                values[checkpoint][start:stop] = from_means(documents.metric, means)
        for checkpoint, value in values.items():
            totals[checkpoint] = totals.get(checkpoint, np.zeros(resamples)) + value
    return {checkpoint: total / len(documents.scores) for checkpoint, total in totals.items()}


def resample_performance(
    suite: SuiteSpec,
    scores: Mapping[str, Mapping[str, Draws]],
    checkpoint: str,
    references: Mapping[str, str],
    *,
    resamples: int = RESAMPLES,
    left_out: Collection[str] = (),
) -> ResampledPerformance:
    """Normalised performance and its aggregates in every resample.

    Args:
        suite: tasks and benchmarks.
        scores: by benchmark and checkpoint, what `resample_scores` gave.
        checkpoint: whose performance.
        references: by task, the expert whose score is divided by.
        resamples: how many there are; they say the shape where nothing was scored.
        left_out: names of benchmarks that do not count.
    """
    unknown = np.full(resamples, np.nan)
    tasks: dict[str, Draws] = {}
    performances: list[Draws] = []
    dropped: dict[str, int] = {}
    for task, benchmarks in suite.counted(left_out).items():
        of_task = []
        for benchmark in benchmarks:
            known = scores.get(benchmark.name, {})
            if checkpoint not in known or references[task] not in known:
                of_task.append(unknown)
                continue
            numerator = mapped(benchmark, known[checkpoint])
            denominator = mapped(benchmark, known[references[task]])
            usable = denominator > 0
            if not usable.all():
                dropped[benchmark.name] = int((~usable).sum())
            of_task.append(np.divide(numerator, denominator, out=unknown.copy(), where=usable))
        performances += of_task
        tasks[task] = np.mean(of_task, axis=0)
    if not tasks:
        return ResampledPerformance(unknown, unknown, unknown, unknown, {}, {})
    average = np.mean(performances, axis=0)
    of_tasks = np.stack(list(tasks.values()))
    worst = of_tasks.min(axis=0)
    return ResampledPerformance(average, worst, worst - average, of_tasks.mean(axis=0), tasks, dropped)


def resample_forgetting(
    suite: SuiteSpec, scores: Mapping[str, Mapping[str, Draws]], checkpoint: str, base: str
) -> dict[str, Draws]:
    """The difference to the base in every resample, of the benchmarks that watch forgetting and both have.

    Args:
        suite: benchmarks that watch forgetting.
        scores: by benchmark and checkpoint, what `resample_scores` gave.
        checkpoint: whose difference.
        base: what it is to.
    """
    found = {}
    for benchmark in suite.forgetting:
        known = scores.get(benchmark.name, {})
        if checkpoint in known and base in known:
            found[benchmark.name] = mapped(benchmark, known[checkpoint]) - mapped(benchmark, known[base])
    return found


def percentile_interval(draws: Draws) -> Interval | None:
    """The 95 % percentile interval of the resampled values; NaN is left out, None where nothing remains."""
    known = draws[~np.isnan(draws)]
    if not known.size:
        return None
    low, high = np.percentile(known, [2.5, 97.5])
    return Interval(float(low), float(high))


def _indexed(benchmark: str, checkpoint: str, table: pd.DataFrame) -> pd.DataFrame:
    indexed = table.set_index(["lm_eval_task", "doc_id"]).sort_index()
    if indexed.index.has_duplicates:
        raise InputError(
            f"benchmark {benchmark}: '{checkpoint}' was scored twice on one document; score it again"
        )
    return indexed


def generator_of(seed: int, *purpose: str) -> np.random.Generator:
    """Random numbers that depend on the seed and on what they are for alone."""
    digest = hashlib.sha256("\0".join([str(seed), *purpose]).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16]))
