"""What the page shows of an entry, and what it is ranked by."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from results.ranked import Measured, Source
from results.run_manifest import Role


@dataclass(frozen=True)
class ShownEntry:
    """An entry of a run.

    Attributes:
        id: the same as long as its records are, in whatever league.
        role: merged, base or expert.
        experts: digest over the experts that its scores are divided by.
        source: where it is from.
        row: what the table shows of it, but for what its league says.
        details: what panels show of all entries of the run, by their ids; compressed JSON (zlib).
        numbers: by statistic, what it is ranked by; empty where it has no rank.
    """

    id: str
    role: Role
    experts: str
    source: Source
    row: Mapping[str, JsonValue]
    details: bytes = field(repr=False)
    numbers: Mapping[str, Measured] = field(repr=False, compare=False)

    def measured(self, statistic: str) -> Measured | None:
        """The average or the worst task; None where the entry has no rank by it."""
        return self.numbers.get(statistic)
