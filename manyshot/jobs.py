"""Jobs: what one process does one after the other, and workers take from a queue."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Self, TypeVar


class Job(ABC):
    """What is done at once. One that scores can be cut into its benchmarks.

    Attributes:
        after: names of what must have been done.
    """

    after: frozenset[str] = frozenset()

    @property
    @abstractmethod
    def label(self) -> str:
        """The checkpoint, or whatever it is about."""

    @property
    def benchmarks(self) -> Collection[str]:
        """What it scores the checkpoint on; nothing where it does something else."""
        return ()

    def only(self, benchmarks: Collection[str]) -> Self:
        """The job with some of its benchmarks."""
        return self

    def load(self, last: "Job") -> int:
        """How much a worker loads anew for it that did another job; 0 where it is about the same."""
        return int(self.label != last.label)

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return f"{self.label} on {', '.join(self.benchmarks)}" if self.benchmarks else self.label

    @property
    def does(self) -> frozenset[str]:
        """Names of what is done with it, which stay the same however jobs are cut."""
        return frozenset(f"{self.label} on {one}" for one in self.benchmarks) or frozenset({self.label})


JobT = TypeVar("JobT", bound=Job)


def longest_first(jobs: Iterable[JobT]) -> list[JobT]:
    """Return jobs by how many others wait for them one after the other, the most first.

    Args:
        jobs: each behind those that it waits for.
    """
    listed = list(jobs)
    chain = chain_lengths(listed)
    return sorted(listed, key=lambda job: -chain[job.name])


def chain_lengths(jobs: Sequence[Job]) -> Mapping[str, int]:
    """Return by job's name how many jobs the longest chain has that begins with it.

    Args:
        jobs: each behind those that it waits for.
    """
    behind: dict[str, int] = {}
    lengths = {}
    for job in reversed(jobs):
        lengths[job.name] = length = 1 + max(behind.get(done, 0) for done in job.does)
        for earlier in job.after:
            behind[earlier] = max(behind.get(earlier, 0), length)
    return lengths
