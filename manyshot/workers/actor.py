"""A worker: it has an engine, scores what it is sent, writes the records and answers with their keys."""

import os
import socket
from dataclasses import dataclass

from bench.benchmark import Benchmark
from bench.scoring import Scorer
from manyshot.score_checkpoints import open_checkpoints
from manyshot.scoring_plan import ScoringJob, do_job
from manyshot.workers.setup import ScoringSetup
from merging.checkpoints.kept_digests import keeping_digests
from results.errors import InputError


@dataclass(frozen=True)
class Answer:
    """What a worker says: the digests of the keys of its records, and the sentence that ended its work."""

    keys: tuple[str, ...] = ()
    error: str | None = None


class ScoringActor:
    """Does jobs, one after the other, in a process of its own.

    Args:
        setup: how.
        threads: of torch's, on a CPU.
    """

    def __init__(self, setup: ScoringSetup, threads: int) -> None:
        self._setup, self._threads = setup, threads
        self._scorer: Scorer | None = None
        self._benchmarks: dict[str, Benchmark] = {}

    def open(self) -> Answer:
        """Load what all jobs need; an answer without an error says that jobs may come."""
        import torch

        torch.set_num_threads(self._threads)
        try:
            self._scorer = self._setup.open_scorer()
            self._benchmarks = {one.name: one for one in self._setup.benchmarks.load()}
        except InputError as error:
            return Answer(error=str(error))
        return Answer()

    def do(self, job: ScoringJob) -> Answer:
        """Do a job. What is no fault of the user's is raised, and whoever sent the job ends this process."""
        assert self._scorer is not None
        made = []
        try:
            with keeping_digests(self._setup.store / "digests"):
                self._check(self._scorer, job)
            for record in do_job(self._scorer, job, self._benchmarks):
                made.append(record.key.digest)
        except InputError as error:
            return Answer(tuple(made), str(error))
        return Answer(tuple(made))

    def place(self) -> tuple[str, int]:
        """The machine's name and the number of the process."""
        return socket.gethostname(), os.getpid()

    def _check(self, scorer: Scorer, job: ScoringJob) -> None:
        """Refuse a job that would make other records here than it was planned for.

        Raises:
            InputError: says what differs.
        """
        host, path = socket.gethostname(), str(job.checkpoint.path)
        if not scorer.engine_kind.recorded:
            (here,) = open_checkpoints([path], self._setup.settings.engine)
            if here.identity != job.checkpoint.identity:
                raise InputError(f"{path} is another checkpoint on {host} than where jobs come from.")
        for name, digest in job.records.items():
            if scorer.key(job.checkpoint, self._benchmarks[name]).digest != digest:
                raise InputError(
                    f"{name} is asked otherwise on {host} than where jobs come from: its rows, its "
                    "definition or the version of the harness differ."
                )
