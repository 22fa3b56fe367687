"""Scores of single benchmarks over seeds: what the aggregates of a comparison are made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from results.comparison import Comparison, Row
from results.metrics import mapped
from results.minima import Term
from results.pooled import Pooled, pooled, pooled_scores
from results.suite import BenchmarkSpec


@dataclass(frozen=True)
class BenchmarkScore:
    """Rows of several seeds on one benchmark, pooled; None stands for what is not known.

    Attributes:
        benchmark: name, metric, direction, chance.
        task: what it measures; None where it watches forgetting.
        n: number of documents.
        score: as the benchmark reports it.
        expert: mean score of the task's experts; None where the benchmark watches forgetting.
        base: score of the base.
        performance: NP_b; None where the benchmark watches forgetting.
        forgetting: difference to the base; None where the benchmark measures a task.
        left_out: whether it counts in no aggregate.
    """

    benchmark: BenchmarkSpec
    task: str | None
    n: int | None
    score: Pooled
    expert: float | None
    base: float | None
    performance: Pooled | None
    forgetting: Pooled | None
    left_out: bool


def benchmark_score(
    benchmark: BenchmarkSpec, comparison: Comparison, rows: Sequence[Row], experts: Sequence[Row]
) -> BenchmarkScore:
    """The score on one benchmark of rows that differ in their seeds.

    Args:
        benchmark: one of the suite.
        comparison: that has the rows.
        rows: one for each seed.
        experts: of each row what it is divided by; none where the benchmark watches forgetting.
    """
    name = benchmark.name
    base = next((row for row in comparison.rows if row.role == "base"), None)
    performance = forgetting = None
    if experts:
        pairs = zip(rows, experts, strict=True)
        performance = pooled([(row.performance[name], _divided(benchmark, row, one)) for row, one in pairs])
    else:
        differences = [row.resampled.forgetting.get(name) for row in rows]
        terms = [None if one is None else (one, None) for one in differences]
        forgetting = pooled(list(zip((row.forgetting[name] for row in rows), terms, strict=True)))
    of_experts = [one.scores[name] for one in experts if name in one.scores]
    return BenchmarkScore(
        benchmark=benchmark,
        task=comparison.suite.task_of(name),
        n=rows[0].n.get(name),
        score=pooled_scores(rows, name),
        expert=fmean(of_experts) if of_experts else None,
        base=base.scores.get(name) if base else None,
        performance=performance,
        forgetting=forgetting,
        left_out=name in comparison.left_out,
    )


def _divided(benchmark: BenchmarkSpec, row: Row, expert: Row) -> Term | None:
    """NP_b in every resample; NaN where the expert's score cannot be divided by."""
    scores = [one.resampled.scores.get(benchmark.name) for one in (row, expert)]
    if scores[0] is None or scores[1] is None:
        return None
    own, reference = (mapped(benchmark, score) for score in scores if score is not None)
    return np.divide(own, reference, out=np.full(own.shape, np.nan), where=reference > 0), None
