"""Jobs that wait for workers and for each other, and what becomes of those whose worker has died."""

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any, Generic

from manyshot.jobs import JobT, chain_lengths

MOST_DEATHS = 3
"""Workers that a job may take with it before it is given up."""


@dataclass(frozen=True)
class Queued(Generic[JobT]):
    """A job, how many jobs wait for it one after the other, and how many workers have died over it."""

    job: JobT
    chain: int
    deaths: int = 0


@dataclass(frozen=True)
class FailedJob(Generic[JobT]):
    """A job that was given up, and the sentence that says why."""

    job: JobT
    why: str


class Queue(Generic[JobT]):
    """Jobs, of which one may be taken when those before it are done: the one that most wait for first.

    Of several that as many wait for a worker gets the one for which it loads least, or else the first. In
    the end, when some workers would get none, scoring is cut in halves.

    Args:
        jobs: each behind those that it waits for.
        workers: how many take jobs.
        done: names of what is done already.

    Attributes:
        finished: names of all that is done.
        failed: jobs that were given up.
        lost: names of all that will not be done.
    """

    def __init__(self, jobs: Iterable[JobT], workers: int, done: Collection[str] = ()) -> None:
        listed = list(jobs)
        chain = chain_lengths(listed)
        left = [Queued(job, chain[job.name]) for job in listed if not job.does <= set(done)]
        self._waiting = deque(sorted(left, key=lambda queued: -queued.chain))
        self._workers = workers
        self.finished = set(done)
        self.failed: list[FailedJob[JobT]] = []
        self.lost: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def take(self, last: JobT | None = None) -> Queued[JobT] | None:
        """The next job of a worker; None where there is none for it now.

        Args:
            last: what the worker did last.
        """
        ready = [queued for queued in self._waiting if self.may_be_taken(queued.job)]
        if not ready:
            return None
        longest = max(queued.chain for queued in ready)
        first = [queued for queued in ready if queued.chain == longest]
        taken = first[0] if last is None else min(first, key=lambda queued: queued.job.load(last))
        benchmarks = list(taken.job.benchmarks)
        is_end = len(self._waiting) < self._workers
        self._waiting.remove(taken)
        if is_end and len(benchmarks) > 1:
            half = (len(benchmarks) + 1) // 2
            self._waiting.appendleft(replace(taken, job=taken.job.only(benchmarks[half:])))
            return replace(taken, job=taken.job.only(benchmarks[:half]))
        return taken

    def may_be_taken(self, job: JobT) -> bool:
        """Whether a job waits for nothing."""
        return job.after <= self.finished

    def done(self, job: JobT, value: Any) -> None:
        """A worker has done a job, and has given a value: those may go on that waited for it."""
        self.finished |= job.does

    def refused(self, queued: Queued[JobT], why: str) -> None:
        """A worker said that a job cannot be done: of several benchmarks each is tried by itself."""
        if len(queued.job.benchmarks) > 1:
            self._queue_again(queued)
        else:
            self._give_up(queued.job, why)

    def died(self, queued: Queued[JobT], why: str) -> None:
        """Queue a job again whose worker has died, its benchmarks each by itself, or give it up."""
        again = replace(queued, deaths=queued.deaths + 1)
        if again.deaths >= MOST_DEATHS:
            self._give_up(queued.job, f"{again.deaths} workers died over it, the last so: {why}")
        else:
            self._queue_again(again)

    def _queue_again(self, queued: Queued[JobT]) -> None:
        """Queue a job behind those for which as many wait."""
        job = queued.job
        parts = [job.only([benchmark]) for benchmark in job.benchmarks] or [job]
        self._waiting.extend(replace(queued, job=part) for part in parts)

    def _give_up(self, job: JobT, why: str) -> None:
        """Do no more about a job, nor about those that wait for it."""
        self.failed.append(FailedJob(job, why))
        lost = set(job.does)
        while behind := [queued for queued in self._waiting if queued.job.after & lost]:
            for queued in behind:
                self._waiting.remove(queued)
                lost |= queued.job.does
        self.lost |= lost
