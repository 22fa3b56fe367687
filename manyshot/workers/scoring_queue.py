"""Checkpoints that are to be scored, as jobs that wait for workers."""

from collections import deque
from collections.abc import Iterable
from typing import Any

from manyshot.scoring_plan import ScoringJob
from manyshot.workers.queue import Queue, Queued


class ScoringQueue(Queue[ScoringJob]):
    """Jobs in order. Towards the end, when some workers would get none, jobs are cut in halves.

    Args:
        jobs: what is to be done.
        workers: how many take jobs.
    """

    def __init__(self, jobs: Iterable[ScoringJob], workers: int) -> None:
        super().__init__()
        self._waiting = deque(Queued(job) for job in jobs)
        self._workers = workers

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def take(self, last: ScoringJob | None = None) -> Queued[ScoringJob] | None:
        """The next job of a worker, of the checkpoint that it did last where there is one."""
        if not self._waiting:
            return None
        same = (queued for queued in self._waiting if last and _same_checkpoint(queued.job, last))
        taken = next(same, self._waiting[0])
        self._waiting.remove(taken)
        benchmarks = len(taken.job.records)
        if len(self._waiting) + 1 < self._workers and benchmarks > 1:
            first, rest = taken.job.parts((benchmarks + 1) // 2)
            self._waiting.appendleft(Queued(rest, taken.deaths))
            return Queued(first, taken.deaths)
        return taken

    def done(self, job: ScoringJob, value: Any) -> None:
        """A worker has scored a checkpoint, for which no other job waits."""

    def refused(self, queued: Queued[ScoringJob], why: str) -> None:
        """Queue the benchmarks of a job that a worker refused each by itself, or give the one up."""
        if len(queued.job.records) == 1:
            self.give_up(queued.job, why)
        else:
            self.queue_again(queued.job, queued.deaths)

    def queue_again(self, job: ScoringJob, deaths: int) -> None:
        """Queue the benchmarks of a job, each by itself."""
        while job.records:
            one, job = job.parts(1)
            self._waiting.append(Queued(one, deaths))


def _same_checkpoint(one: ScoringJob, other: ScoringJob) -> bool:
    return one.checkpoint.identity == other.checkpoint.identity
