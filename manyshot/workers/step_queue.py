"""Steps that wait for workers, and for each other."""

from collections.abc import Collection, Iterable
from typing import Any

from manyshot.run_steps import WaitingT, longest_first
from manyshot.workers.queue import Queue, Queued


class StepQueue(Queue[WaitingT]):
    """Steps, of which one may be taken when those before it are done: the one that most wait for first.

    Args:
        steps: each behind those that it waits for.
        done: names of those that are done.

    Attributes:
        finished: names of all that are done.
    """

    def __init__(self, steps: Iterable[WaitingT], done: Collection[str] = ()) -> None:
        super().__init__()
        self._waiting = [Queued(step) for step in longest_first(steps) if step.name not in done]
        self.finished = set(done)

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def take(self, last: WaitingT | None = None) -> Queued[WaitingT] | None:
        """The next step of a worker, if one waits for nothing that is not done."""
        for queued in self._waiting:
            if queued.job.after <= self.finished:
                self._waiting.remove(queued)
                return queued
        return None

    def done(self, job: WaitingT, value: Any) -> None:
        """Let the steps go on that waited for one."""
        self.finished.add(job.name)

    def refused(self, queued: Queued[WaitingT], why: str) -> None:
        """Give a step up."""
        self.give_up(queued.job, why)

    def queue_again(self, job: WaitingT, deaths: int) -> None:
        """Queue a step behind the others."""
        self._waiting.append(Queued(job, deaths))

    def give_up(self, job: WaitingT, why: str) -> None:
        """Do no more about a step, nor about those that wait for it."""
        super().give_up(job, why)
        lost = {job.name}
        for queued in self._waiting.copy():  # where a step stands behind those that it waits for
            if queued.job.after & lost:
                self._waiting.remove(queued)
                lost.add(queued.job.name)
