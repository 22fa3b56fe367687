"""Jobs that wait for workers, and what becomes of those whose worker has died."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

MOST_DEATHS = 3
"""Workers that a job may take with it before it is given up."""


class Job(Protocol):
    """What a worker does at once."""

    @property
    def name(self) -> str:
        """What it is called in messages."""


J = TypeVar("J", bound=Job)


@dataclass(frozen=True)
class Queued(Generic[J]):
    """A job, and how many workers have died over it."""

    job: J
    deaths: int = 0


@dataclass(frozen=True)
class FailedJob(Generic[J]):
    """A job that was given up, and the sentence that says why."""

    job: J
    why: str


class Queue(ABC, Generic[J]):
    """Jobs in the order in which workers get them.

    Attributes:
        failed: jobs that were given up.
    """

    def __init__(self) -> None:
        self.failed: list[FailedJob[J]] = []

    @abstractmethod
    def __bool__(self) -> bool:
        """Whether jobs wait."""

    @abstractmethod
    def take(self, last: J | None = None) -> Queued[J] | None:
        """The next job of a worker; None where there is none for it now.

        Args:
            last: what the worker did last.
        """

    @abstractmethod
    def done(self, job: J, value: Any) -> None:
        """A worker has done a job, and has given a value."""

    @abstractmethod
    def refused(self, queued: Queued[J], why: str) -> None:
        """A worker said that a job cannot be done."""

    def died(self, queued: Queued[J], why: str) -> None:
        """Queue a job again whose worker has died, or give it up."""
        deaths = queued.deaths + 1
        if deaths >= MOST_DEATHS:
            self.give_up(queued.job, f"{deaths} workers died over it, the last so: {why}")
        else:
            self.queue_again(queued.job, deaths)

    @abstractmethod
    def queue_again(self, job: J, deaths: int) -> None:
        """Queue a job behind the others."""

    def give_up(self, job: J, why: str) -> None:
        """Do no more about a job."""
        self.failed.append(FailedJob(job, why))
