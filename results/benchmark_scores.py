"""Scores of single benchmarks over seeds, with intervals: what the aggregates of a comparison are made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from results.bootstrap import Draws
from results.comparison import Comparison, Row
from results.metrics import mapped
from results.pooled import pooled_draws, pooled_scores
from results.record import Record
from results.run import Entry, Run
from results.seeds import Spread, spread
from results.store import Store
from results.suite import BenchmarkSpec


@dataclass(frozen=True)
class BenchmarkScore:
    """Rows of several seeds on one benchmark. Means are over seeds; None stands for what is not known.

    Attributes:
        benchmark: name, metric, direction, chance.
        task: what it measures; None where it watches forgetting.
        n: number of documents.
        score: as the benchmark reports it.
        expert: score of the task's expert; None where the benchmark watches forgetting.
        base: score of the base.
        performance: NP_b; None where the benchmark watches forgetting.
        forgetting: difference to the base; None where the benchmark measures a task.
        left_out: whether it counts in no aggregate.
    """

    benchmark: BenchmarkSpec
    task: str | None
    n: int | None
    score: Spread | None
    expert: float | None
    base: float | None
    performance: Spread | None
    forgetting: Spread | None
    left_out: bool


class ScoresOfRun:
    """Records and resampled scores of a run's checkpoints, its rounds left out.

    Args:
        comparison: of the run.
        run: which records hold the scores.
        store: where the records are.

    Raises:
        InputError: a record is missing or broken.
    """

    def __init__(self, comparison: Comparison, run: Run, store: Store) -> None:
        self._comparison = comparison
        self._rows = {row.label: row for row in comparison.rows}
        self._base = next((one.label for one in run.entries if one.role == "base"), "")
        self.records: dict[str, dict[str, Record]] = {}
        """By benchmark and label."""
        for benchmark in run.suite.benchmarks:
            records = {
                entry.label: store.get(entry.records[benchmark.name])
                for entry in run.entries
                if entry.role != "round" and benchmark.name in entry.records
            }
            self.records[benchmark.name] = records

    def over_seeds(
        self, benchmark: BenchmarkSpec, rows: Sequence[Row], experts: Sequence[Mapping[str, Entry]]
    ) -> BenchmarkScore:
        """The benchmark's score of rows that differ in their seeds.

        Args:
            benchmark: one of the suite.
            rows: of the comparison.
            experts: for each row and by task, what it is divided by.
        """
        name, suite = benchmark.name, self._comparison.suite
        task, records = suite.task_of(name), self.records[name]
        drawn = [self._draws(benchmark, row.label) for row in rows]
        performance = forgetting = None
        divided_by: list[str] = []
        if task is None:
            base = self._draws(benchmark, self._base)
            differences = [own - base for own in drawn]
            forgetting = spread(
                pooled_draws(
                    [(row.forgetting[name], own) for row, own in zip(rows, differences, strict=True)]
                )
            )
        else:
            divided_by = [of_row[task].label for of_row in experts]
            references = [self._draws(benchmark, label) for label in divided_by]
            quotients = [_divided(own, other) for own, other in zip(drawn, references, strict=True)]
            values = [row.performance[name] for row in rows]
            performance = spread(pooled_draws(list(zip(values, quotients, strict=True))))
        expert_scores = [records[label].value for label in divided_by if label in records]
        return BenchmarkScore(
            benchmark=benchmark,
            task=task,
            n=records[rows[0].label].n if rows[0].label in records else None,
            score=spread(pooled_scores(rows, name)),
            expert=fmean(expert_scores) if expert_scores else None,
            base=records[self._base].value if self._base in records else None,
            performance=performance,
            forgetting=forgetting,
            left_out=name in self._comparison.left_out,
        )

    def _draws(self, benchmark: BenchmarkSpec, label: str) -> Draws:
        """A checkpoint's score in every resample, higher is better; NaN where it was not scored."""
        drawn = self._rows[label].resampled.scores.get(benchmark.name) if label in self._rows else None
        return np.full(self._comparison.resamples, np.nan) if drawn is None else mapped(benchmark, drawn)


def _divided(score: Draws, reference: Draws) -> Draws:
    """NP_b in every resample; NaN where the reference cannot be divided by."""
    return np.divide(score, reference, out=np.full(score.shape, np.nan), where=reference > 0)
