"""Two checkpoints, benchmark by benchmark: labels of a run, or whatever has records in the store."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from results.comparison import compare, paired_difference
from results.errors import InputError
from results.minima import PairedDifference
from results.paired import BenchmarkDifference, benchmark_difference, holm
from results.record import Record
from results.reference import differing_settings
from results.run_manifest import Entry, Run
from results.store import Store
from results.suite import RANKED_BY, BenchmarkSpec
from results.validation import quoted

_NEAREST = 5
_SHORTEST_DIGEST = 8


@dataclass(frozen=True)
class ComparedCheckpoint:
    """One of the two.

    Attributes:
        title: what the user calls it.
        digest: the checkpoint's.
        records: by benchmark, how it was scored; in several ways, where it is from the store.
        row: label of its row of the run; None where it has none.
    """

    title: str
    digest: str
    records: Mapping[str, Sequence[Record]]
    row: str | None


@dataclass(frozen=True)
class AggregateDifference:
    """A statistic of normalised performance: of the two, and its difference."""

    values: tuple[float, float]
    difference: PairedDifference


@dataclass(frozen=True)
class HeadToHead:
    """What sets two checkpoints apart.

    Attributes:
        titles: of the two.
        digests: of the two.
        benchmarks: on which both were scored in the same way.
        corrected: by benchmark, its p-value corrected for their number (Holm).
        aggregates: average and worst task of the normalised performance, for rows of one run.
        notes: what the reader should know.
    """

    titles: tuple[str, str]
    digests: tuple[str, str]
    benchmarks: tuple[BenchmarkDifference, ...]
    corrected: Mapping[str, float]
    aggregates: Mapping[str, AggregateDifference]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The comparison as a JSON value."""
        return {
            "checkpoints": list(self.titles),
            "digests": list(self.digests),
            "benchmarks": [
                {**item.to_json(), "p_corrected": self.corrected[item.benchmark]} for item in self.benchmarks
            ],
            "aggregates": {
                name: {"values": list(item.values), **vars(item.difference)}
                for name, item in self.aggregates.items()
            },
            "notes": list(self.notes),
        }


def head_to_head(
    names: tuple[str, str],
    store: Store,
    run: Run | None,
    higher_is_better: Callable[[str], bool],
    *,
    most: int = 0,
) -> HeadToHead:
    """Compare two checkpoints on every benchmark that both were scored on in the same way.

    Args:
        names: of each a label of the run; or the name under which a checkpoint was scored (a given one's is
            its path) or its digest (the first eight digits will do); or the path of a checkpoint of the run.
        store: where the records are.
        run: whose labels come first and whose paths come last, where there is one.
        higher_is_better: says it of a benchmark that the run does not name.
        most: how many documents to list, of each benchmark, on which either is better.

    Raises:
        InputError: a name is not known, or stands for several checkpoints; no benchmark was scored for both
            in the same way.
    """
    sides = tuple(_side(name, store, run) for name in names)
    first, second = sides
    specs = {item.name: item for item in run.suite.benchmarks} if run else {}
    shared = [
        name
        for name in dict.fromkeys([*specs, *sorted(first.records)])
        if name in first.records and name in second.records
    ]
    notes, differences = [], []
    for name in shared:
        pair, differing = _alike_records(first.records[name], second.records[name])
        if differing:
            notes.append(
                f"{name}: '{first.title}' and '{second.title}' were scored with different {differing}"
            )
            continue
        if any(map(_is_served, pair)):
            notes.append(f"{name}: scores of a server, whose weights could not be verified")
        documents = store.documents(pair[0]), store.documents(pair[1])
        spec = specs.get(name) or BenchmarkSpec(
            name=name, metric=pair[0].metric, higher_is_better=higher_is_better(name)
        )
        differences.append(benchmark_difference(spec, pair, documents, most=most))
    if not differences:
        both = f"'{first.title}' and '{second.title}'"
        reason = f"benchmark {'; '.join(notes)}" if notes else f"no benchmark was scored for both {both}"
        raise InputError(f"{reason}; score both with the same settings")
    for side, other in (sides, sides[::-1]):
        alone = [name for name in side.records if name not in other.records]
        if alone:
            notes.append(f"scored for '{side.title}' alone: {', '.join(alone)}")
    aggregates: dict[str, AggregateDifference] = {}
    if run and first.row and second.row:
        aggregates, missing = _aggregates((first.row, second.row), store, run)
        notes += missing
    return HeadToHead(
        titles=names,
        digests=(first.digest, second.digest),
        benchmarks=tuple(differences),
        corrected=dict(
            zip(
                [item.benchmark for item in differences],
                holm([item.p_value for item in differences]),
                strict=True,
            )
        ),
        aggregates=aggregates,
        notes=tuple(notes),
    )


def _aggregates(
    labels: tuple[str, str], store: Store, run: Run
) -> tuple[dict[str, AggregateDifference], list[str]]:
    """Average and worst task of two rows of a run; or notes why there are none."""
    # The others' rows would change nothing, and take time.
    kept = [entry for entry in run.entries if entry.role in {"base", "expert"} or entry.label in labels]
    comparison = compare(run.model_copy(update={"entries": tuple(kept)}), store)
    rows = [comparison.row(label) for label in labels]
    missing = [
        f"'{row.label}' has no average: {'; '.join(row.notes)}" for row in rows if row.average.value is None
    ]
    aggregates = {}
    for name in () if missing else RANKED_BY:
        values: Any = tuple(row.estimate(name).value for row in rows)
        aggregates[name] = AggregateDifference(values, paired_difference(comparison, *labels, name))
    return aggregates, [*missing, *comparison.left_out.values()]


def _side(name: str, store: Store, run: Run | None) -> ComparedCheckpoint:
    for entry in run.entries if run else ():
        if entry.label == name:
            return _checkpoint_of_run(name, entry, store)
    every = list(store.records())
    called = [record for record in every if _is_called(record, name)]
    called = called or [record for record in every if Path(record.name).name == name]
    digests = sorted({record.key.checkpoint.digest for record in called})
    if len(digests) > 1:
        raise InputError(
            f"'{name}' stands for {len(digests)} checkpoints in {store.root}: give the digest of one, "
            f"{', '.join(digest[:12] for digest in digests)}"
        )
    if not digests:
        for entry in run.entries if run else ():
            if Path(entry.path).resolve() == Path(name).resolve():
                return _checkpoint_of_run(name, entry, store)
        known = [entry.label for entry in run.entries if entry.role != "round"] if run else []
        known += sorted({record.name for record in every})
        near = ", ".join(map(quoted, get_close_matches(name, known, n=_NEAREST, cutoff=0)))
        there = f" among {len(known)}; the nearest are {near}" if known else "; the store has no records"
        raise InputError(f"{store.root}: no checkpoint {quoted(name)}{there}")
    by_benchmark: dict[str, list[Record]] = {}
    for record in called:
        # What was scored on a validation split chose settings, and says nothing of what came out.
        if "@" not in record.key.benchmark:
            by_benchmark.setdefault(record.key.benchmark, []).append(record)
    return ComparedCheckpoint(name, digests[0], by_benchmark, row=None)


def _checkpoint_of_run(name: str, entry: Entry, store: Store) -> ComparedCheckpoint:
    records = {benchmark: [store.get(digest)] for benchmark, digest in entry.records.items()}
    row = None if entry.role == "round" else entry.label
    return ComparedCheckpoint(name, entry.checkpoint.digest, records, row)


def _is_called(record: Record, name: str) -> bool:
    if len(name) >= _SHORTEST_DIGEST and record.key.checkpoint.digest.startswith(name):
        return True
    return record.name == name or Path(record.name).resolve() == Path(name).resolve()


def _alike_records(firsts: Sequence[Record], seconds: Sequence[Record]) -> tuple[tuple[Record, Record], str]:
    """Each side's record with the most documents, and the settings in which the two differ.

    Of several, one of weights that are known, in place of a server's; and the latest.
    """
    pairs = [(a, b) for a in firsts for b in seconds]
    alike = [pair for pair in pairs if not differing_settings(*pair)]
    chosen = max(
        alike or pairs, key=lambda pair: (pair[0].n, not any(map(_is_served, pair)), pair[0].created)
    )
    return chosen, differing_settings(*chosen)


def _is_served(record: Record) -> bool:
    """Whether a server gave the answers, of which nobody knows with which weights."""
    return record.key.settings.get("device") == "the server's"
