"""Scores of single benchmarks over seeds, with intervals: what the aggregates of a comparison are made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from results import bootstrap
from results.aggregation import document_columns
from results.comparison import Comparison, Row
from results.metrics import mapped
from results.record import Record
from results.run import Entry, Run
from results.seeds import Spread, spread
from results.store import DOCUMENT_KEY, Store
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
        comparison: of the run; the resamples are those that it rests on.
        run: which records hold the scores.
        store: where the records are.

    Raises:
        InputError: a record is missing or broken.
    """

    def __init__(self, comparison: Comparison, run: Run, store: Store) -> None:
        self._comparison, self._store = comparison, store
        self._base = next((one.label for one in run.entries if one.role == "base"), "")
        self.records: dict[str, dict[str, Record]] = {}
        """By benchmark and label."""
        self._drawn: dict[str, dict[str, bootstrap.Draws]] = {}
        for benchmark in run.suite.benchmarks:
            records = {
                entry.label: store.get(entry.records[benchmark.name])
                for entry in run.entries
                if entry.role != "round" and benchmark.name in entry.records
            }
            self.records[benchmark.name] = records
            self._drawn[benchmark.name] = self._resampled(benchmark, records) if records else {}

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
            forgetting = spread(list(zip((row.forgetting[name] for row in rows), differences, strict=True)))
        else:
            divided_by = [of_row[task].label for of_row in experts]
            references = [self._draws(benchmark, label) for label in divided_by]
            quotients = [_divided(own, other) for own, other in zip(drawn, references, strict=True)]
            performance = spread(list(zip((row.performance[name] for row in rows), quotients, strict=True)))
        expert_scores = [records[label].value for label in divided_by if label in records]
        # A score that is mapped twice is again as the benchmark reports it.
        reported = [mapped(benchmark, own) for own in drawn]
        return BenchmarkScore(
            benchmark=benchmark,
            task=task,
            n=records[rows[0].label].n if rows[0].label in records else None,
            score=spread(list(zip((row.scores.get(name) for row in rows), reported, strict=True))),
            expert=fmean(expert_scores) if expert_scores else None,
            base=records[self._base].value if self._base in records else None,
            performance=performance,
            forgetting=forgetting,
            left_out=name in self._comparison.left_out,
        )

    def _draws(self, benchmark: BenchmarkSpec, label: str) -> bootstrap.Draws:
        """A checkpoint's score in every resample, higher is better; NaN where it was not scored."""
        known = self._drawn[benchmark.name]
        if label not in known:
            return np.full(self._comparison.resamples, np.nan)
        return mapped(benchmark, known[label])

    def _resampled(
        self, benchmark: BenchmarkSpec, records: Mapping[str, Record]
    ) -> dict[str, bootstrap.Draws]:
        columns = [*DOCUMENT_KEY, *document_columns(benchmark.metric)]
        documents = {label: self._store.documents(record, columns) for label, record in records.items()}
        aligned = bootstrap.align_documents(benchmark.name, benchmark.metric, documents)
        return bootstrap.resample_scores(
            aligned, resamples=self._comparison.resamples, seed=self._comparison.seed
        )


def _divided(score: bootstrap.Draws, reference: bootstrap.Draws) -> bootstrap.Draws:
    """NP_b in every resample; NaN where the reference cannot be divided by."""
    return np.divide(score, reference, out=np.full(score.shape, np.nan), where=reference > 0)
