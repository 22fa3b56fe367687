"""What a run brings to the leaderboard: its entries, and what it has in common with the runs of a league."""

from results.aggregation import document_columns
from results.comparison import Comparison, compare
from results.json_values import digest_of
from results.kept_rows import KeptRows
from results.leaderboard_entries import LeaderboardEntry, entries_of
from results.leagues import ComparisonKey, Scoring
from results.ranked import Source
from results.run_manifest import Run, load_run
from results.store import DOCUMENT_KEY, Store


def read_run(store: Store, name: str) -> tuple[ComparisonKey, list[LeaderboardEntry]]:
    """Compare the checkpoints of a run.

    Raises:
        InputError: there is no such run, or it cannot be compared.
    """
    run, records = load_run(store, name), KeptRows(store, name)
    comparison = compare(run, store, kept=records)
    key = comparison_key(run, comparison, records)
    return key, entries_of(comparison, run, records, Source(str(store.root), name))


def comparison_key(run: Run, comparison: Comparison, records: KeptRows) -> ComparisonKey:
    """What the runs that a run can be compared with have in common with it.

    Raises:
        InputError: a record is missing or broken.
    """
    scoring = {}
    for benchmark in run.suite.task_benchmarks:
        digest = next(
            (entry.records[benchmark.name] for entry in run.entries if benchmark.name in entry.records), None
        )
        if digest is not None:
            record = records.get(digest)
            key, rows = record.key, records.rows(record, document_columns(record.metric))
            names = sorted(zip(*(map(str, rows[name].to_pylist()) for name in DOCUMENT_KEY), strict=True))
            scoring[benchmark.name] = Scoring(key.definition, key.data, digest_of(names), key.settings)
    return ComparisonKey(
        run=digest_of(run.model_dump(mode="json")),
        suite=run.suite,
        base=run.base.checkpoint.digest if run.base else None,
        path=run.base.path if run.base else "",
        limit=comparison.limit,
        scoring=scoring,
        left_out=comparison.left_out,
    )
