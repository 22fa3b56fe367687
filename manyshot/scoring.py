"""Scoring many checkpoints on many benchmarks, with progress, each record made once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.benchmark import Benchmark
from bench.scoring import Scorer
from manyshot.terminal import ScoringProgress, logger
from merging.checkpoint import Checkpoint
from results.errors import InputError
from results.record import CheckpointIdentity, Record


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
    scorer: Scorer, benchmarks: Sequence[Benchmark], skip_missing: bool
) -> tuple[Benchmark, ...]:
    """The benchmarks that have rows; what has none is said.

    Raises:
        InputError: some have none and `skip_missing` is false, or none has any.
    """
    missing = scorer.missing_data(benchmarks)
    if missing and not skip_missing:
        reasons = "; ".join(f"{name} ({reason})" for name, reason in missing.items())
        raise InputError(
            f"{len(missing)} of {len(benchmarks)} benchmarks have no data: {reasons}. "
            "Give a data root that has them with --data, or leave them out with --skip-missing."
        )
    for name, reason in missing.items():
        logger.warning("no data for %s: %s", name, reason)
    if len(missing) == len(benchmarks):
        raise InputError("No benchmark has data: give a data root with --data.")
    return tuple(benchmark for benchmark in benchmarks if benchmark.name not in missing)


def score_all(
    scorer: Scorer, candidates: Sequence[Candidate], benchmarks: Sequence[Benchmark]
) -> dict[str, Mapping[str, Record]]:
    """Records of every candidate on every benchmark, by the candidate's name and the benchmark's.

    Records that are in the store are not made again.
    """
    progress = ScoringProgress(len(candidates) * len(benchmarks))
    scorer.progress = progress.requests
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
    for name, row in records.items():
        for benchmark_name, record in row.items():
            for notice in record.notices:
                logger.info("%s on %s: %s", Path(name).name, benchmark_name, notice)
    logger.info("%d records made, %d found in %s", made, found, scorer.store.root)
    return dict(records)
