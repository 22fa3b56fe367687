"""Comparing the checkpoints of a run: normalised performance, forgetting and their intervals."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from results import minima
from results.aggregation import document_columns
from results.bootstrap import RESAMPLES, align_documents, resample_together
from results.errors import InputError
from results.intervals import Draws, least_of
from results.kept_rows import KeptRows
from results.metrics import Performance, performance, reference_note
from results.reference import check_settings, not_learned, ordered_entries, records_of, references
from results.run_manifest import Entry, Role, Run
from results.store import Store
from results.suite import AGGREGATES, SuiteSpec


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval over documents; None where it is not known."""

    value: float | None
    low: float | None = None
    high: float | None = None

    def to_json(self) -> dict[str, float | None]:
        """The three as a JSON value."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class ComparisonRow:
    """One checkpoint of the comparison.

    Attributes:
        entry: what the run says of it.
        scores: as the benchmarks report them, for every benchmark it was scored on.
        performance: NP_b for every benchmark of a task.
        tasks: NP_t for every task; not known where all its benchmarks are left out.
        average: over benchmarks.
        worst_task: the least NP_t.
        gap: worst_task − average.
        anp: over tasks.
        forgetting: difference to the base on the benchmarks that watch forgetting; negative is forgotten.
        complete: how many benchmarks of the tasks have a normalised performance to show (the checkpoint and
            its reference were scored), and how many there are; those that are left out do not count.
        notes: what the reader of the numbers should know.
        resampled: what the intervals were taken from.
        n: number of documents of every benchmark that it was scored on.
    """

    entry: Entry
    scores: Mapping[str, float]
    performance: Mapping[str, float | None]
    tasks: Mapping[str, Estimate]
    average: Estimate
    worst_task: Estimate
    gap: Estimate
    anp: Estimate
    forgetting: Mapping[str, float | None]
    complete: tuple[int, int]
    notes: tuple[str, ...]
    resampled: Performance = field(repr=False, compare=False)
    n: Mapping[str, int] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """How it is called; unique in the comparison."""
        return self.entry.label

    @property
    def role(self) -> Role:
        """Base, expert, merged or round."""
        return self.entry.role

    @property
    def title(self) -> str:
        """How the rows of all seeds, and of a merge's rounds, are called together."""
        return self.entry.title or self.entry.label

    @property
    def protocol(self) -> str:
        """Post-hoc or many-shot; empty of what was not merged."""
        return self.entry.protocol or ""

    @property
    def seed(self) -> int | None:
        """The seed of its training or merging, where it has one."""
        return self.entry.seed

    def estimate(self, statistic: str) -> Estimate:
        """The average, worst_task, gap or anp, or normalised performance on the task of this name."""
        estimate: Estimate = self.tasks[statistic] if statistic in self.tasks else getattr(self, statistic)
        return estimate

    @property
    def is_complete(self) -> bool:
        """Whether all benchmarks of the tasks were scored."""
        return self.complete[0] == self.complete[1]

    def to_json(self) -> dict[str, Any]:
        """The row as a JSON value; None where a number is not known."""
        return {
            "label": self.label,
            "role": self.role,
            "checkpoint": self.entry.path,
            "method": self.entry.method,
            "protocol": self.entry.protocol,
            "seed": self.seed,
            "average": self.average.to_json(),
            "worst_task": self.worst_task.to_json(),
            "gap": self.gap.to_json(),
            "anp": self.anp.to_json(),
            "tasks": {task: estimate.to_json() for task, estimate in self.tasks.items()},
            "forgetting": dict(self.forgetting),
            "scores": dict(self.scores),
            "n": dict(self.n),
            "complete": list(self.complete),
            "notes": list(self.notes),
            "trace": self.entry.trace and self.entry.trace.model_dump(mode="json"),
            "recipe": self.entry.recipe and self.entry.recipe.model_dump(mode="json"),
            "selection": self.entry.selection and self.entry.selection.model_dump(mode="json"),
        }


@dataclass(frozen=True)
class Comparison:
    """The rows of a run: the base, the experts, the merged checkpoints, each in the order of the run.

    Attributes:
        name: the run's.
        suite: what was scored.
        rows: one per checkpoint.
        rounds: one per round on the way to a merged checkpoint, in order.
        limit: most documents of each lm-eval task that were scored; None for all.
        left_out: benchmarks that count in no aggregate, and why.
        validation: by task, how many validation examples weights and choices rest on, where that is known.
    """

    name: str
    suite: SuiteSpec
    rows: tuple[ComparisonRow, ...]
    limit: int | None = None
    rounds: tuple[ComparisonRow, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    validation: Mapping[str, int] = field(default_factory=dict)

    @property
    def base(self) -> ComparisonRow | None:
        """The row of the base, where there is one."""
        return next((row for row in self.rows if row.role == "base"), None)

    @property
    def counted_tasks(self) -> tuple[str, ...]:
        """The tasks that count in the aggregates."""
        return tuple(self.suite.counted(self.left_out))

    def row(self, label: str) -> ComparisonRow:
        """The row of this label.

        Raises:
            InputError: there is none.
        """
        for row in self.rows:
            if row.label == label:
                return row
        raise InputError(
            f"run {self.name}: no '{label}'; there are {', '.join(row.label for row in self.rows)}"
        )

    def to_json(self) -> list[dict[str, Any]]:
        """All rows as JSON values."""
        return [row.to_json() for row in self.rows]


def compare(
    run: Run, store: Store, *, resamples: int = RESAMPLES, kept: KeptRows | None = None
) -> Comparison:
    """Compare the checkpoints of a run.

    Args:
        run: which checkpoints, and which records hold their scores.
        store: where the records are.
        resamples: of the documents, for the intervals.
        kept: of the run, where the caller reads its records too.

    Raises:
        InputError: an expert is missing, a record is missing or is not the entry's, two checkpoints that
            are divided or subtracted were scored with different settings or on different documents.
    """
    entries = ordered_entries(run)
    kept = kept or KeptRows(store, run.name)
    records = {entry.label: records_of(entry, run.suite, kept) for entry in entries}
    experts = {entry.label: references(run, entry) for entry in entries}
    base = run.base
    check_settings(run.suite, entries, records, experts, base)
    aligned = []
    scores: dict[str, dict[str, Draws]] = {}
    for benchmark in run.suite.benchmarks:
        scored = {
            label: by_benchmark[benchmark.name]
            for label, by_benchmark in records.items()
            if benchmark.name in by_benchmark
        }
        scores[benchmark.name] = {label: np.array([record.value]) for label, record in scored.items()}
        if scored:
            columns = document_columns(benchmark.metric)
            documents = {label: kept.rows(record, columns) for label, record in scored.items()}
            aligned.append(align_documents(benchmark.name, benchmark.metric, documents))
    kept.save()
    drawn = resample_together(aligned, resamples=resamples)
    left_out = not_learned(run, scores, drawn)
    rows = []
    for entry in entries:
        labels = {task: expert.label for task, expert in experts[entry.label].items()}
        measured, resampled = (
            performance(
                run.suite,
                either,
                entry.label,
                labels,
                base.label if base else None,
                resamples=number,
                left_out=left_out,
            )
            for either, number in ((scores, 1), (drawn, resamples))
        )
        row = _row(
            run.suite, entry, labels, scores, measured=measured, resampled=resampled, left_out=left_out
        )
        rows.append(replace(row, n={name: record.n for name, record in records[entry.label].items()}))
    return Comparison(
        name=run.name,
        suite=run.suite,
        rows=tuple(row for row in rows if row.role != "round"),
        limit=run.settings.limit,
        rounds=tuple(row for row in rows if row.role == "round"),
        left_out=left_out,
        validation=run.settings.validation,
    )


def _row(
    suite: SuiteSpec,
    entry: Entry,
    experts: Mapping[str, str],
    scores: Mapping[str, Mapping[str, Draws]],
    *,
    measured: Performance,
    resampled: Performance,
    left_out: Collection[str],
) -> ComparisonRow:
    notes = []
    unscored = {"": [name for name in measured.benchmarks if name not in measured.scores]}
    for task, benchmarks in suite.tasks.items():
        for benchmark in benchmarks:
            of_expert = scores[benchmark.name].get(experts[task])
            if benchmark.name not in measured.scores:
                continue
            if of_expert is None:
                unscored.setdefault(f" by the expert '{experts[task]}'", []).append(benchmark.name)
            elif benchmark.name not in left_out:
                notes.append(reference_note(benchmark, float(of_expert[0])))
    notes += [f"not scored{by_whom}: {', '.join(names)}" for by_whom, names in unscored.items() if names]
    counted = sum(len(benchmarks) for benchmarks in suite.counted(left_out).values())
    missing = sum(name not in left_out for names in unscored.values() for name in names)
    performances = {name: _known(value) for name, value in measured.benchmarks.items()}
    for name, draws in resampled.benchmarks.items():
        dropped = int(np.isnan(draws).sum())
        if dropped and performances[name] is not None and name not in left_out:
            notes.append(
                f"{name}: the expert scores 0 in {dropped} of {draws.size} resamples, left out of the "
                "interval"
            )

    def estimate(statistic: str) -> Estimate:
        value = _known(least_of(measured.parts(statistic)))
        interval = minima.mean_interval([(resampled.parts(statistic), None)]) if value is not None else None
        return Estimate(value, interval.low, interval.high) if interval else Estimate(value)

    return ComparisonRow(
        entry=entry,
        scores={name: float(score[0]) for name, score in measured.scores.items()},
        performance=performances,
        tasks={task: estimate(task) if task in measured.tasks else Estimate(None) for task in suite.tasks},
        average=estimate("average"),
        worst_task=estimate("worst_task"),
        gap=estimate("gap"),
        anp=estimate("anp"),
        forgetting={
            benchmark.name: _known(measured.forgetting.get(benchmark.name)) for benchmark in suite.forgetting
        },
        complete=(counted - missing, counted),
        notes=tuple(note for note in notes if note is not None),
        resampled=resampled,
    )


def _known(measured: Draws | None) -> float | None:
    """A measured number; None where it is NaN, or not there."""
    return None if measured is None or np.isnan(measured[0]) else float(measured[0])


def paired_difference(
    comparison: Comparison, first: str, second: str, statistic: str = "average"
) -> minima.PairedDifference:
    """How much better the first checkpoint is than the second, from the same resampled documents.

    Args:
        comparison: that has both.
        first: a label.
        second: a label.
        statistic: "average", "worst_task", "gap", "anp", or the name of a task.

    Raises:
        InputError: one of them is not there, or has no value for the statistic.
    """
    rows = comparison.row(first), comparison.row(second)
    values = []
    for row in rows:
        estimates = {*row.resampled.tasks, *AGGREGATES}
        if statistic not in estimates:
            raise InputError(f"no statistic '{statistic}'; there are {', '.join(sorted(estimates))}")
        value = row.estimate(statistic).value
        if value is None:
            raise InputError(f"'{row.label}' has no {statistic} to compare; {'; '.join(row.notes)}")
        values.append(value)
    parts = [row.resampled.parts(statistic) for row in rows]
    difference = minima.difference(values[0] - values[1], *parts)
    if difference is None:
        raise InputError(f"no resample gives both '{first}' and '{second}' a value of {statistic}")
    return difference
