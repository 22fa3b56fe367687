"""What an entry must say of itself to stand in a league, however it was made."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from results.intervals import Draws
from results.ranking import Seeds
from results.run_manifest import Role


@dataclass(frozen=True)
class Source:
    """Where an entry is from: a store's folder as it was given, and the name of a run."""

    store: str
    run: str


@dataclass(frozen=True)
class Measured:
    """A statistic that an entry is ranked by.

    Attributes:
        value: as it was measured.
        seeds: the value with each of its seeds.
        digest: of all that is ranked by: the value, the seeds and the resamples.
        draws: gives the value in every resample of the documents, shape (resamples,).
    """

    value: float
    seeds: Seeds
    digest: str
    draws: Callable[[], Draws]


class RankedEntry(Protocol):
    """An entry of a league."""

    @property
    def id(self) -> str:
        """The same as long as its records are, in whatever league."""

    @property
    def role(self) -> Role:
        """Merged, base or expert."""

    @property
    def source(self) -> Source:
        """Where it is from."""

    def measured(self, statistic: str) -> Measured | None:
        """The average or the worst task; None where the entry has no rank by it."""


Entry = TypeVar("Entry", bound=RankedEntry)
