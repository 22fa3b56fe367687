"""Scoring many checkpoints on many benchmarks, with progress, each record made once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.benchmark import Benchmark
from bench.scoring import Scorer, ScoreSettings, missing_data
from manyshot.terminal import ScoringProgress, logger
from merging.checkpoint import Checkpoint
from results.errors import InputError
from results.record import CheckpointIdentity, Record
from results.store import Store


@dataclass(frozen=True)
class Candidate:
    """A checkpoint to be scored: what the user calls it, where it lies, and what it is."""

    name: str
    path: Path
    identity: CheckpointIdentity

    @classmethod
    def open(cls, name: str) -> "Candidate":
        """A checkpoint by path or hub name.

        Raises:
            InputError: it is not there, or not whole.
        """
        checkpoint = Checkpoint.open(name)
        return cls(name, checkpoint.folder, checkpoint.identity())


def benchmarks_with_data(
    benchmarks: Sequence[Benchmark], data_root: Path | None, skip_missing: bool
) -> tuple[Benchmark, ...]:
    """The benchmarks that have rows; what has none is said.

    Raises:
        InputError: some have none and `skip_missing` is false, or none has any.
    """
    missing = missing_data(benchmarks, data_root)
    for reason in missing.values():
        logger.warning("no data: %s", reason)
    if missing and not skip_missing:
        raise InputError(
            f"{len(missing)} of {len(benchmarks)} benchmarks have no data ({', '.join(missing)}): "
            "give a data root that has them with --data, or leave them out with --skip-missing."
        )
    if len(missing) == len(benchmarks):
        raise InputError("No benchmark has data: give a data root with --data.")
    return tuple(benchmark for benchmark in benchmarks if benchmark.name not in missing)


def score_all(
    candidates: Sequence[Candidate],
    benchmarks: Sequence[Benchmark],
    *,
    settings: ScoreSettings,
    store: Store,
    data_root: Path | None,
) -> dict[str, Mapping[str, Record]]:
    """Records of every candidate on every benchmark, by the candidate's name and the benchmark's.

    Records that are in the store are not made again.
    """
    progress = ScoringProgress(len(candidates) * len(benchmarks))
    scorer = Scorer(settings, store, data_root, progress.requests)
    records: dict[str, dict[str, Record]] = {}
    found = made = 0
    with progress.shown():
        try:
            for candidate in candidates:
                records[candidate.name] = {}
                for benchmark in benchmarks:
                    progress.start(f"{Path(candidate.name).name} · {benchmark.name}")
                    scored = scorer.score(candidate.path, candidate.name, candidate.identity, benchmark)
                    records[candidate.name][benchmark.name] = scored.record
                    found, made = found + scored.found, made + (not scored.found)
                    progress.finish()
        finally:
            scorer.close()
    notices = [
        f"{Path(name).name} on {benchmark}: {notice}"
        for name, row in records.items()
        for benchmark, record in row.items()
        for notice in record.notices
    ]
    for notice in notices:
        logger.info(notice)
    logger.info("%d records made, %d found in %s", made, found, store.root)
    return dict(records)
