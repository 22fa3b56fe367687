"""What is to be scored, as jobs: of each checkpoint what the store lacks.

One process walks the jobs one after the other, workers take them from a queue; both do a job by `do_job`.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.benchmark import Benchmark
from bench.engine import KeptBackError, Progress
from bench.scored_checkpoint import ScoredCheckpoint
from bench.scoring import Scorer
from manyshot.jobs import Job
from results.errors import InputError
from results.record import Record


@dataclass(frozen=True)
class ScoringJob(Job):
    """A checkpoint, and the benchmarks that the store has no record of it on.

    Attributes:
        checkpoint: what is scored.
        records: by benchmark, the digest of the key that its record will have.
    """

    checkpoint: ScoredCheckpoint
    records: Mapping[str, str]

    @property
    def label(self) -> str:
        """The checkpoint's name."""
        return self.checkpoint.name

    @property
    def benchmarks(self) -> tuple[str, ...]:
        """What the checkpoint is scored on."""
        return tuple(self.records)

    def only(self, benchmarks: Collection[str]) -> "ScoringJob":
        """The job with some of its benchmarks."""
        return replace(self, records={name: self.records[name] for name in benchmarks})


@dataclass(frozen=True)
class ScoringPlan:
    """The records of checkpoints on benchmarks: those that are there, and jobs that make the others.

    Attributes:
        keys: digest of a record's key by name of the checkpoint and benchmark.
        found: records that the store has, by digest.
        jobs: in the order of the checkpoints; none makes a record twice.
    """

    keys: Mapping[tuple[str, str], str]
    found: Mapping[str, Record]
    jobs: tuple[ScoringJob, ...]

    @property
    def lacking(self) -> int:
        """How many records are to be made."""
        return sum(len(job.records) for job in self.jobs)


def plan_scoring(
    scorer: Scorer, checkpoints: Sequence[ScoredCheckpoint], benchmarks: Sequence[Benchmark]
) -> ScoringPlan:
    """Look for all records in the store, and plan those that it lacks.

    Raises:
        InputError: a checkpoint that is to be scored is broken, or a record is.
    """
    keys: dict[tuple[str, str], str] = {}
    found: dict[str, Record] = {}
    planned: set[str] = set()
    jobs = []
    for checkpoint in checkpoints:
        scorer.check(checkpoint, benchmarks)
        lacking = {}
        for benchmark in benchmarks:
            key = scorer.key(checkpoint, benchmark)
            keys[checkpoint.name, benchmark.name] = key.digest
            if key.digest in found or key.digest in planned:
                continue
            record = scorer.store.find(key)
            if record is None:
                lacking[benchmark.name] = key.digest
            else:
                found[key.digest] = record
        planned.update(lacking.values())
        if lacking:
            jobs.append(ScoringJob(checkpoint, lacking))
    return ScoringPlan(keys, found, tuple(jobs))


def do_job(
    scorer: Scorer,
    job: ScoringJob,
    benchmarks: Mapping[str, Benchmark],
    *,
    announce: Callable[[str], None] = lambda _: None,
    progress: Progress | None = None,
) -> Iterator[Record]:
    """Score a job's checkpoint on its benchmarks; yield each record when the store has it.

    Args:
        scorer: with the store.
        job: what to do.
        benchmarks: by name, with at least the job's.
        announce: called with what begins.
        progress: called with the numbers of a benchmark's requests answered and asked.

    Raises:
        InputError: the checkpoint cannot be loaded or asked; or a server keeps answers back, after all else.
    """
    kept_back: list[str] = []
    wanted = [benchmarks[name] for name in job.records]
    called = Path(job.checkpoint.name).name
    announce(f"{called} · generated answers")
    scorer.answer_ahead(job.checkpoint, wanted, progress)
    for benchmark in wanted:
        announce(f"{called} · {benchmark.name}")
        try:
            record = scorer.score(job.checkpoint, benchmark, progress).record
        except KeptBackError as error:
            kept_back.append(str(error))
        else:
            yield record
    if kept_back:
        raise InputError(" ".join(kept_back))
