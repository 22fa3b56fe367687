"""Handing jobs to workers: one in flight at each; those whose worker dies are queued again."""

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic

from manyshot.console import logger
from manyshot.jobs import JobT
from manyshot.workers.actor import Actor, Answer, Setup
from manyshot.workers.cluster import Places, Workers
from manyshot.workers.queue import FailedJob, Queue, Queued
from merging.checkpoints.kept_digests import how_kept
from results.errors import InputError

_LOOK_SECONDS = 1.0
_START_SECONDS = 900.0
"""How long there may be no worker, while some are to start."""
_STARTS = 3
"""How many workers are started for each place, where they die before they take a job."""
_LONGEST_REASON = 500


@dataclass
class _Worker(Generic[JobT]):
    """An actor, and what it does: a job, or opening what all jobs need."""

    actor: Any
    doing: Queued[JobT] | None = None
    last: JobT | None = None


@dataclass
class _Hired:
    """The actors of a crew: those that do something, by the answer that is awaited of them, and others."""

    busy: dict[Any, _Worker[Any]] = field(default_factory=dict)
    idle: list[_Worker[Any]] = field(default_factory=list)


class Crew:
    """Workers that do jobs as one setup says, and stay until they are sent home.

    Args:
        workers: where they are.
        setup: what each opens.
    """

    def __init__(self, workers: Workers, setup: Setup) -> None:
        self._workers, self._setup = workers, setup
        self._hired = _Hired()

    def do(
        self, queue_of: Callable[[int], Queue[JobT]], most: int, look: Callable[[Collection[JobT]], None]
    ) -> list[FailedJob[JobT]]:
        """Do all jobs that can be done, and return the others.

        Args:
            queue_of: makes the queue for a number of workers.
            most: more workers would have nothing to do.
            look: called each second with the jobs that are in flight or have just been done.

        Raises:
            InputError: no worker could be started.
        """
        places = self._workers.open(self._setup.engine, most)
        shift = _Shift(self._setup, places, queue_of(places.actors), look, self._hired)
        try:
            shift.work()
        except BaseException:
            self.close()
            raise
        return shift.queue.failed

    def close(self) -> None:
        """End all actors."""
        hired, self._hired = self._hired, _Hired()
        for worker in (*hired.busy.values(), *hired.idle):
            import ray

            ray.kill(worker.actor)


@contextmanager
def open_crew(workers: Workers | None, setup: Setup) -> Iterator[Crew | None]:
    """Give a crew, and send it home; None where there are no workers."""
    if workers is None:
        yield None
        return
    with closing(Crew(workers, setup)) as crew:
        yield crew


class _Shift(Generic[JobT]):
    """What becomes of the jobs of one queue."""

    def __init__(
        self,
        setup: Setup,
        places: Places,
        queue: Queue[JobT],
        look: Callable[[Collection[JobT]], None],
        hired: _Hired,
    ) -> None:
        import ray

        self._ray, self._setup, self._places = ray, setup, places
        self.queue, self._look = queue, look
        self._class = ray.remote(num_cpus=places.cpus, num_gpus=places.gpus)(Actor)
        self._busy: dict[Any, _Worker[JobT]] = hired.busy
        self._idle: list[_Worker[JobT]] = hired.idle
        self._starts = _STARTS * places.actors
        self._why_not = "none has started in time"
        self._seen = time.monotonic()

    def work(self) -> None:
        """Hand out jobs until none is left.

        Raises:
            InputError: there are jobs and no workers.
        """
        for _ in range(self._places.actors - len(self._busy) - len(self._idle)):
            self._hire()
        while self.queue or self._in_flight:
            for worker in self._idle.copy():
                self._hand_out(worker)
            if self._in_flight:
                self._seen = time.monotonic()
            if not self._busy or time.monotonic() - self._seen > _START_SECONDS:
                raise InputError(f"There is no worker for what is to be done: {self._why_not}")
            heard, _ = self._ray.wait(list(self._busy), timeout=_LOOK_SECONDS)
            self._look(self._in_flight)
            for answer in heard:
                self._hear(answer)

    @property
    def _in_flight(self) -> list[JobT]:
        return [worker.doing.job for worker in self._busy.values() if worker.doing]

    def _hire(self) -> None:
        actor = self._class.remote(self._setup, self._places.cpus, Path.cwd(), how_kept())
        self._busy[actor.open.remote()] = _Worker(actor)
        self._starts -= 1

    def _hand_out(self, worker: _Worker[JobT]) -> None:
        queued = self.queue.take(worker.last)
        if queued is not None:
            self._idle.remove(worker)
            worker.doing = queued
            self._busy[worker.actor.do.remote(queued.job)] = worker

    def _hear(self, answer: Any) -> None:
        """Take what a worker says, or hire another where it has died."""
        worker = self._busy.pop(answer)
        doing, worker.doing = worker.doing, None
        try:
            said: Answer = self._ray.get(answer)
        except self._ray.exceptions.RayError as error:
            self._bury(worker, doing, _reason(error))
            return
        if doing is None and said.error is not None:  # whoever comes after it would say the same
            self._why_not = said.error
            self._ray.kill(worker.actor)
            return
        if doing is not None:
            worker.last = doing.job
            if said.error is not None:
                self.queue.refused(doing, said.error)
            else:
                self.queue.done(doing.job, said.value)
        self._idle.append(worker)

    def _bury(self, worker: _Worker[JobT], doing: Queued[JobT] | None, why: str) -> None:
        self._ray.kill(worker.actor)
        self._why_not = why
        if doing is not None:
            logger.warning("a worker died over %s: %s", doing.job.name, why)
            self._starts += 1  # jobs take a number of workers with them that is limited already
            self.queue.died(doing, why)
        if self.queue and self._starts > 0:
            self._hire()


def _reason(error: Exception) -> str:
    """What an error of Ray's says in a line: the exception of the worker's, or why it has died."""
    cause = getattr(error, "cause", None)
    text = str(error).strip().partition("\n")[0] if cause is None else f"{type(cause).__name__}: {cause}"
    return " ".join(text.split())[:_LONGEST_REASON]
