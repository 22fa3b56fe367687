"""The entries that a run has on a leaderboard: each method over its seeds, the base, and the experts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from results.benchmark_scores import BenchmarkScore, benchmark_score
from results.comparison import Comparison, Row
from results.pooled import Merged, Pooled
from results.recipe import recipe_of
from results.record import JSON, digest_of
from results.reference import references
from results.run import Entry as RunEntry
from results.run import Role, Run
from results.samples import Sample, differing_samples
from results.store import Store
from results.suite import BenchmarkSpec


@dataclass(frozen=True)
class Source:
    """Where an entry is from: a store's folder as it was given, and the name of a run."""

    store: str
    run: str


@dataclass(frozen=True)
class CheckpointOfSeed:
    """One of an entry's checkpoints: its seed, where it lies, and its digest."""

    seed: int | None
    path: str
    digest: str


@dataclass(frozen=True)
class Entry:
    """A method over its seeds, or a reference: the base, or a task's expert over its seeds.

    Attributes:
        id: the same as long as the records are, in whatever league.
        role: merged, base or expert.
        title: how it is called.
        method: its name; None for a reference.
        settings: the method's.
        protocol: post-hoc or many-shot; None for a reference.
        checkpoints: one for each seed.
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
    role: Role
    title: str
    method: str | None
    settings: Mapping[str, JSON]
    protocol: str | None
    checkpoints: tuple[CheckpointOfSeed, ...]
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
    rows: tuple[Row, ...] = field(repr=False, compare=False)
    comparison: Comparison = field(repr=False, compare=False)
    recipe: Mapping[str, JSON] = field(default_factory=dict)
    samples: Mapping[str, tuple[Sample, ...]] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether all benchmarks of the tasks were scored."""
        return self.scored[0] == self.scored[1]

    @property
    def n(self) -> int:
        """How many documents of the benchmarks that count in the average were scored, with one seed."""
        return sum(one.n or 0 for one in self.benchmarks if one.task is not None and not one.left_out)

    def pooled(self, statistic: str) -> Pooled:
        """The average or the worst task, by name."""
        found: Pooled = getattr(self, statistic)
        return found

    @property
    def source_code(self) -> str | None:
        """Of a method of the user's own, what its class is in Python."""
        recipe = self.rows[0].recipe
        return recipe.source if recipe else None


def entries_of(comparison: Comparison, run: Run, store: Store, source: Source) -> list[Entry]:
    """The entries of a run: the base, the experts, the methods, each over its seeds.

    Args:
        comparison: of the run.
        run: which records hold the scores.
        store: where the records are.
        source: how to call the store and the run.

    Raises:
        InputError: a record is broken, or what a merge is said to be made of.
    """
    groups: dict[str, list[Row]] = {}
    for row in comparison.rows:
        groups.setdefault(digest_of(_what(row)), []).append(row)
    made = []
    for rows in groups.values():
        entry = _entry(sorted(rows, key=lambda row: row.seed or 0), comparison, run, source)
        made.append(_with_recipe(entry, run, store) if entry.role == "merged" else entry)
    return made


def _entry(rows: Sequence[Row], comparison: Comparison, run: Run, source: Source) -> Entry:
    """The entry of these rows, one for each seed."""
    first, suite, own = rows[0], run.suite, [_run_entry(run, row.label) for row in rows]
    experts = [references(run, one) for one in own]
    divided = digest_of(sorted({one.checkpoint.digest for each in experts for one in each.values()}))
    records = sorted(digest for one in own for digest in one.records.values())
    all_seeds = Merged(_title(first), first.protocol or "", tuple(rows))
    tasks = {task: all_seeds.task(task) for task in suite.tasks}

    def score(benchmark: BenchmarkSpec) -> BenchmarkScore:
        task = suite.task_of(benchmark.name)
        of_task = [] if task is None else [comparison.row(each[task].label) for each in experts]
        return benchmark_score(benchmark, comparison, rows, of_task)

    return Entry(
        id=digest_of([_what(first), list(suite.tasks), divided, records])[:12],
        role=first.role,
        title=all_seeds.title,
        method=first.method,
        settings=first.settings,
        protocol=first.protocol,
        checkpoints=tuple(CheckpointOfSeed(one.seed, one.path, one.checkpoint.digest) for one in own),
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


def _weakest(rows: Sequence[Row]) -> str | None:
    """The task that is the worst of every row."""
    if any(row.worst_task.value is None for row in rows):
        return None
    for task in rows[0].tasks:
        if all(row.tasks[task].value == row.worst_task.value for row in rows):
            return task
    return None


def _with_recipe(entry: Entry, run: Run, store: Store) -> Entry:
    """A merged checkpoint's entry with its recipe, and with samples; both of the lowest seed."""
    row, own = entry.rows[0], _run_entry(run, entry.rows[0].label)
    experts = references(run, own)
    base = next((one for one in run.entries if one.role == "base"), None)
    rounds = sum(one.leads_to == row.label for one in entry.comparison.rounds)
    samples = {}
    for one in entry.benchmarks:
        name = one.benchmark.name
        if one.task is not None and name in own.records and name in experts[one.task].records:
            merged, expert = (
                store.documents(store.get(each.records[name])) for each in (own, experts[one.task])
            )
            samples[name] = tuple(differing_samples(merged, expert))
    return replace(entry, recipe=recipe_of(row, base, experts, rounds), samples=samples)


def _run_entry(run: Run, label: str) -> RunEntry:
    return next(one for one in run.entries if one.label == label)


def _what(row: Row) -> list[JSON]:
    """What the rows of an entry have in common."""
    return [row.role, _title(row), row.method, row.protocol, dict(row.settings)]


def _title(row: Row) -> str:
    return f"{row.task} expert" if row.role == "expert" else row.title or row.label
