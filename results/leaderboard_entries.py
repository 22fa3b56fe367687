"""The entries that a run has on a leaderboard: each method over its seeds, the base, and the experts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from hashlib import sha256
from statistics import fmean

import pyarrow as pa
from pydantic import JsonValue

from results.comparison import Comparison, ComparisonRow
from results.json_values import digest_of
from results.kept_rows import KeptRows
from results.merge_recipe import recipe_of
from results.pooled import MethodOverSeeds, Pooled, pooled_draws, pooled_scores
from results.ranked import Measured, Source
from results.reference import references
from results.run_manifest import Entry, Role, Run
from results.samples import DifferingDocument, differing_samples
from results.store import DOCUMENT_KEY
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
    benchmark: BenchmarkSpec,
    comparison: Comparison,
    rows: Sequence[ComparisonRow],
    experts: Sequence[ComparisonRow],
) -> BenchmarkScore:
    """The score on one benchmark of rows that differ in their seeds.

    Args:
        benchmark: one of the suite.
        comparison: that has the rows.
        rows: one for each seed.
        experts: of each row what it is divided by; none where the benchmark watches forgetting.
    """
    name = benchmark.name
    base = comparison.base
    performance = forgetting = None
    if experts:
        performance = pooled_draws(
            [(row.performance[name], row.resampled.benchmarks.get(name)) for row in rows]
        )
    else:
        forgetting = pooled_draws(
            [(row.forgetting[name], row.resampled.forgetting.get(name)) for row in rows]
        )
    of_experts = [expert.scores[name] for expert in experts if name in expert.scores]
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


@dataclass(frozen=True)
class LeaderboardEntry:
    """A method over its seeds, or a reference: the base, or a task's expert over its seeds.

    Attributes:
        id: the same as long as the records are, in whatever league.
        title: how it is called.
        experts: digest over the experts that its scores are divided by.
        source: where it is from.
        scored: how many benchmarks of the tasks have a performance to show, and how many there are.
        average: over benchmarks.
        worst_task: the least NP_t.
        weakest: the task whose NP_t is least with every seed; None where there is no such one.
        gap: worst_task − average.
        tasks: NP_t of every task.
        benchmarks: one for every benchmark of the suite.
        notes: what the reader of the numbers should know.
        rows: of the comparison, one for each seed, the lowest first.
        comparison: that they are of.
        recipe: base, experts, method and its settings, as far as the run says; of the lowest seed.
        samples: by benchmark, what the checkpoint of the lowest seed and the expert said to some documents.
    """

    id: str
    title: str
    experts: str
    source: Source
    scored: tuple[int, int]
    average: Pooled
    worst_task: Pooled
    weakest: str | None
    gap: Pooled
    tasks: Mapping[str, Pooled]
    benchmarks: tuple[BenchmarkScore, ...]
    notes: tuple[str, ...]
    rows: tuple[ComparisonRow, ...] = field(repr=False, compare=False)
    comparison: Comparison = field(repr=False, compare=False)
    recipe: Mapping[str, JsonValue] = field(default_factory=dict)
    samples: Mapping[str, tuple[DifferingDocument, ...]] = field(default_factory=dict)

    @property
    def checkpoints(self) -> tuple[Entry, ...]:
        """What the run says of each checkpoint, one for each seed, the lowest first."""
        return tuple(row.entry for row in self.rows)

    @property
    def role(self) -> Role:
        """Merged, base or expert."""
        return self.rows[0].role

    @property
    def is_complete(self) -> bool:
        """Whether all benchmarks of the tasks were scored."""
        return self.scored[0] == self.scored[1]

    @property
    def n(self) -> int:
        """How many documents of the benchmarks that count in the average were scored, with one seed."""
        return sum(score.n or 0 for score in self.benchmarks if score.task is not None and not score.left_out)

    def measured(self, statistic: str) -> Measured | None:
        """The average or the worst task; None of references, and where it is not known of all benchmarks."""
        pooled: Pooled = getattr(self, statistic)
        value, draws = pooled.value, pooled.draws
        if self.role != "merged" or not self.is_complete or value is None or draws is None:
            return None
        digest = digest_of([value, list(pooled.by_seed.items()), sha256(draws.tobytes()).hexdigest()])
        return Measured(value, pooled.by_seed, digest, lambda: draws)

    @property
    def source_code(self) -> str | None:
        """The Python class of a method of the user's own."""
        recipe = self.checkpoints[0].recipe
        return recipe.source if recipe else None


def entries_of(comparison: Comparison, run: Run, records: KeptRows, source: Source) -> list[LeaderboardEntry]:
    """The entries of a run: the base, the experts, the methods, each over its seeds.

    Args:
        comparison: of the run.
        run: which records hold the scores.
        records: the run's.
        source: how to call the store and the run.

    Raises:
        InputError: a record is broken, or what a merge is said to be made of.
    """
    groups: dict[str, list[ComparisonRow]] = {}
    for row in comparison.rows:
        groups.setdefault(digest_of(_shared(row)), []).append(row)
    entries = []

    @cache
    def said(digest: str) -> pa.Table:
        """What an expert said to the documents of a record; many are compared with it."""
        rows = records.store.rows(records.get(digest))
        return rows.select([name for name in (*DOCUMENT_KEY, "score", "output") if name in rows.column_names])

    for rows in groups.values():
        entry = _entry(sorted(rows, key=lambda row: row.seed or 0), comparison, run, source)
        entries.append(_with_recipe(entry, run, records, said) if entry.role == "merged" else entry)
    return entries


def _entry(
    rows: Sequence[ComparisonRow], comparison: Comparison, run: Run, source: Source
) -> LeaderboardEntry:
    """The entry of these rows, one for each seed."""
    suite, entries = run.suite, [row.entry for row in rows]
    experts = [references(run, entry) for entry in entries]
    divided = digest_of(
        sorted({expert.checkpoint.digest for of_seed in experts for expert in of_seed.values()})
    )
    records = sorted(digest for entry in entries for digest in entry.records.values())
    all_seeds = MethodOverSeeds(tuple(rows))
    tasks = {task: all_seeds.task(task) for task in suite.tasks}

    def score(benchmark: BenchmarkSpec) -> BenchmarkScore:
        task = suite.task_of(benchmark.name)
        of_task = [] if task is None else [comparison.row(of_seed[task].label) for of_seed in experts]
        return benchmark_score(benchmark, comparison, rows, of_task)

    return LeaderboardEntry(
        id=digest_of([_shared(rows[0]), list(suite.tasks), divided, records])[:12],
        title=_title(rows[0]),
        experts=divided,
        source=source,
        scored=min(row.complete for row in rows),
        average=all_seeds.aggregate("average"),
        worst_task=all_seeds.aggregate("worst_task"),
        weakest=_weakest(rows),
        gap=all_seeds.aggregate("gap"),
        tasks=tasks,
        benchmarks=tuple(map(score, suite.benchmarks)),
        notes=tuple(dict.fromkeys(note for row in rows for note in row.notes)),
        rows=tuple(rows),
        comparison=comparison,
    )


def _weakest(rows: Sequence[ComparisonRow]) -> str | None:
    """The task that is the worst of every row."""
    if any(row.worst_task.value is None for row in rows):
        return None
    for task in rows[0].tasks:
        if all(row.tasks[task].value == row.worst_task.value for row in rows):
            return task
    return None


def _with_recipe(
    entry: LeaderboardEntry, run: Run, records: KeptRows, said: Callable[[str], pa.Table]
) -> LeaderboardEntry:
    """A merged checkpoint's entry with its recipe, and with samples; both of the lowest seed."""
    own = entry.checkpoints[0]
    experts = references(run, own)
    rounds = sum(merge_round.entry.leads_to == own.label for merge_round in entry.comparison.rounds)
    samples = {}
    for score in entry.benchmarks:
        name = score.benchmark.name
        if score.task is not None and name in own.records and name in experts[score.task].records:
            merged = records.store.rows(records.get(own.records[name]))
            samples[name] = tuple(differing_samples(merged, said(experts[score.task].records[name])))
    return replace(entry, recipe=recipe_of(own, run.base, experts, rounds), samples=samples)


def _shared(row: ComparisonRow) -> list[JsonValue]:
    """What the rows of an entry have in common."""
    return [row.role, _title(row), row.entry.method, row.entry.protocol, dict(row.entry.settings)]


def _title(row: ComparisonRow) -> str:
    return f"{row.entry.task} expert" if row.role == "expert" else row.title
