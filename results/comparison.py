"""The comparison of a run: every checkpoint's normalised performance, forgetting and intervals."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from results import bootstrap, metrics, minima
from results.aggregation import document_columns
from results.chance import at_chance
from results.errors import InputError
from results.items import ITEM
from results.merge_trace import MergeTrace, MethodIdentity, RecipeRecord, RoundSelection
from results.record import JSON, Record
from results.reference import check_settings, references
from results.run import Entry, Role, Run
from results.store import DOCUMENT_KEY, Store
from results.suite import SuiteSpec


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
class Row:
    """One checkpoint of the comparison.

    Attributes:
        label: how it is called; unique in the comparison.
        role: base, expert or merged, or round.
        task: the task of an expert.
        method: the method of a merged checkpoint.
        settings: the method's.
        protocol: post-hoc or many-shot, for a merged checkpoint.
        seed: of its training or merging, where it has one.
        checkpoint: where it lies.
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
        title: as in the run's entry, or the label.
        identity: as in the run's entry, and so are the next five.
        leads_to: label of the merged checkpoint that a round led to.
        round_index: the round's number, from 1.
        trace: what the merge measured.
        recipe: what else it was asked for.
        selection: which of several rounds counts.
        n: number of documents of every benchmark that it was scored on.
    """

    label: str
    role: Role
    task: str | None
    method: str | None
    settings: Mapping[str, JSON]
    protocol: str | None
    seed: int | None
    checkpoint: str
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
    resampled: bootstrap.ResampledPerformance = field(repr=False, compare=False)
    title: str = ""
    identity: MethodIdentity | None = None
    leads_to: str | None = None
    round_index: int | None = None
    trace: MergeTrace | None = None
    recipe: RecipeRecord | None = None
    selection: RoundSelection | None = None
    n: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether all benchmarks of the tasks were scored."""
        return self.complete[0] == self.complete[1]

    def to_json(self) -> dict[str, Any]:
        """The row as a JSON value; None where a number is not known."""
        return {
            "label": self.label,
            "role": self.role,
            "checkpoint": self.checkpoint,
            "method": self.method,
            "protocol": self.protocol,
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
            "trace": self.trace and self.trace.model_dump(mode="json"),
            "recipe": self.recipe and self.recipe.model_dump(mode="json"),
            "selection": self.selection and self.selection.model_dump(mode="json"),
        }


@dataclass(frozen=True)
class Comparison:
    """The rows of a run: the base, the experts, the merged checkpoints, each in the order of the run.

    Attributes:
        name: the run's.
        suite: what was scored.
        rows: one per checkpoint.
        rounds: one per round on the way to a merged checkpoint, in order.
        resamples: how many resamples of documents the intervals rest on.
        seed: what the resamples were drawn with.
        limit: most documents of each lm-eval task that were scored; None for all.
        left_out: benchmarks that count in no aggregate, and why.
        validation: by task, how many validation examples weights and choices rest on, where that is known.
    """

    name: str
    suite: SuiteSpec
    rows: tuple[Row, ...]
    resamples: int
    seed: int
    limit: int | None = None
    rounds: tuple[Row, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    validation: Mapping[str, int] = field(default_factory=dict)

    @property
    def counted_tasks(self) -> tuple[str, ...]:
        """The tasks that count in the aggregates."""
        return tuple(self.suite.counted(self.left_out))

    def row(self, label: str) -> Row:
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


def compare(run: Run, store: Store, *, resamples: int = bootstrap.RESAMPLES, seed: int = 0) -> Comparison:
    """Compare the checkpoints of a run.

    Args:
        run: which checkpoints, and which records hold their scores.
        store: where the records are.
        resamples: of the documents, for the intervals.
        seed: what the resamples are drawn with.

    Raises:
        InputError: an expert is missing, a record is missing or is not the entry's, two checkpoints that
            are divided or subtracted were scored with different settings or on different documents.
    """
    entries = _ordered(run)
    records = {entry.label: _records(entry, run.suite, store) for entry in entries}
    experts = {entry.label: references(run, entry) for entry in entries}
    base = entries[0] if entries[0].role == "base" else None
    check_settings(run.suite, entries, records, experts, base)
    aligned = []
    for benchmark in run.suite.benchmarks:
        columns = [*DOCUMENT_KEY, ITEM, *document_columns(benchmark.metric)]
        documents = {
            entry.label: store.documents(records[entry.label][benchmark.name], columns)
            for entry in entries
            if benchmark.name in records[entry.label]
        }
        if documents:
            aligned.append(bootstrap.align_documents(benchmark.name, benchmark.metric, documents))
    drawn = bootstrap.resample_together(aligned, resamples=resamples, seed=seed)
    scores = {label: {name: one.value for name, one in known.items()} for label, known in records.items()}
    left_out = at_chance(run, scores, drawn) if run.suite.leave_out_at_chance else {}
    rows = []
    for entry in entries:
        labels = {task: expert.label for task, expert in experts[entry.label].items()}
        resampled = bootstrap.resample_performance(
            run.suite, drawn, entry.label, labels, resamples=resamples, left_out=left_out
        )
        resampled = replace(
            resampled,
            scores={name: known[entry.label] for name, known in drawn.items() if entry.label in known},
            forgetting=bootstrap.resample_forgetting(run.suite, drawn, entry.label, base.label)
            if base
            else {},
        )
        row = _row(
            run.suite, entry, experts[entry.label], base, scores, resampled=resampled, left_out=left_out
        )
        rows.append(replace(row, n={name: one.n for name, one in records[entry.label].items()}))
    limit: Any = run.settings.get("limit")
    validation: Any = run.settings.get("validation") or {}
    return Comparison(
        run.name,
        run.suite,
        tuple(row for row in rows if row.role != "round"),
        resamples,
        seed,
        limit,
        tuple(row for row in rows if row.role == "round"),
        left_out,
        validation,
    )


def paired_difference(
    comparison: Comparison, first: str, second: str, statistic: str = "average"
) -> minima.Difference:
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
        estimates = {
            **{task: row.tasks[task] for task in row.resampled.tasks},
            "average": row.average,
            "worst_task": row.worst_task,
            "gap": row.gap,
            "anp": row.anp,
        }
        if statistic not in estimates:
            raise InputError(f"no statistic '{statistic}'; there are {', '.join(sorted(estimates))}")
        value = estimates[statistic].value
        if value is None:
            raise InputError(f"'{row.label}' has no {statistic} to compare; {'; '.join(row.notes)}")
        values.append(value)
    parts = [row.resampled.parts(statistic) for row in rows]
    found = minima.difference(values[0] - values[1], *parts)
    if found is None:
        raise InputError(f"no resample gives both '{first}' and '{second}' a value of {statistic}")
    return found


def _ordered(run: Run) -> list[Entry]:
    """The base, the experts, the merged checkpoints."""
    labels = [entry.label for entry in run.entries]
    for label in labels:
        if labels.count(label) > 1:
            raise InputError(
                f"run {run.name}: two entries are labelled '{label}'; give each a label of its own"
            )
    roles: tuple[Role, ...] = ("base", "expert", "merged", "round")
    entries = [entry for role in roles for entry in run.entries if entry.role == role]
    if sum(entry.role == "base" for entry in entries) > 1:
        raise InputError(f"run {run.name}: two bases; checkpoints of one run come from one base")
    if not entries:
        raise InputError(f"run {run.name}: no entries; score the base, the experts and what was merged")
    return entries


def _records(entry: Entry, suite: SuiteSpec, store: Store) -> dict[str, Record]:
    """The records of one entry, for the benchmarks of the suite."""
    records = {}
    for benchmark in suite.benchmarks:
        if benchmark.name not in entry.records:
            continue
        record = store.get(entry.records[benchmark.name])
        if record.key.benchmark != benchmark.name or record.key.checkpoint != entry.checkpoint:
            raise InputError(
                f"'{entry.label}': record {record.key.digest} is {record.key.benchmark} of {record.name}, "
                f"not {benchmark.name} of this checkpoint; score it again"
            )
        if record.metric != benchmark.metric:
            raise InputError(
                f"'{entry.label}': record {record.key.digest} holds {record.metric} of {benchmark.name}, of "
                f"which the suite counts {benchmark.metric}; score it again"
            )
        records[benchmark.name] = record
    return records


def _row(
    suite: SuiteSpec,
    entry: Entry,
    experts: Mapping[str, Entry],
    base: Entry | None,
    scores: Mapping[str, Mapping[str, float]],
    *,
    resampled: bootstrap.ResampledPerformance,
    left_out: Collection[str],
) -> Row:
    own = scores[entry.label]
    notes = []
    performance: dict[str, float | None] = {}
    unscored = {"": [benchmark.name for benchmark in suite.task_benchmarks if benchmark.name not in own]}
    for task, benchmarks in suite.tasks.items():
        expert = experts[task].label
        for benchmark in benchmarks:
            performance[benchmark.name] = None
            if benchmark.name not in own:
                continue
            if benchmark.name not in scores[expert]:
                unscored.setdefault(f" by the expert '{expert}'", []).append(benchmark.name)
                continue
            found = metrics.normalised_performance(
                benchmark, own[benchmark.name], scores[expert][benchmark.name]
            )
            performance[benchmark.name] = found.value
            if found.note is not None and benchmark.name not in left_out:
                notes.append(found.note)
    notes += [f"not scored{by}: {', '.join(names)}" for by, names in unscored.items() if names]
    counted = sum(len(benchmarks) for benchmarks in suite.counted(left_out).values())
    missing = sum(name not in left_out for names in unscored.values() for name in names)
    for name, count in resampled.dropped.items():
        if performance[name] is not None:
            total = resampled.average.size
            notes.append(
                f"{name}: the expert scores 0 in {count} of {total} resamples, left out of the interval"
            )
    tasks = metrics.task_performance(suite, performance, left_out)
    average = metrics.average(suite, performance, left_out)
    worst = metrics.worst_task(tasks)
    return Row(
        label=entry.label,
        role=entry.role,
        task=entry.task,
        method=entry.method,
        settings=entry.settings,
        protocol=entry.protocol,
        seed=entry.seed,
        checkpoint=entry.path,
        scores=own,
        performance=performance,
        tasks={
            task: _estimate(tasks[task], resampled.parts(task)) if task in tasks else Estimate(None)
            for task in suite.tasks
        },
        average=_estimate(average, resampled.parts("average")),
        worst_task=_estimate(worst, resampled.parts("worst_task")),
        gap=_estimate(metrics.gap(worst, average), resampled.parts("gap")),
        anp=_estimate(metrics.anp(tasks), resampled.parts("anp")),
        forgetting={
            benchmark.name: metrics.forgetting(
                benchmark, own.get(benchmark.name), scores[base.label].get(benchmark.name) if base else None
            )
            for benchmark in suite.forgetting
        },
        complete=(counted - missing, counted),
        notes=tuple(notes),
        title=entry.title or entry.label,
        identity=entry.identity,
        leads_to=entry.leads_to,
        round_index=entry.round_index,
        trace=entry.trace,
        recipe=entry.recipe,
        selection=entry.selection,
        resampled=resampled,
    )


def _estimate(value: float | None, parts: bootstrap.Draws) -> Estimate:
    interval = minima.mean_interval([(parts, None)]) if value is not None else None
    return Estimate(value, interval.low, interval.high) if interval else Estimate(value)
