"""The leaderboard: entries from all runs of some stores, ranked among those that can be compared.

Entries are in one league where the suite with its tasks, the backbone, and how everything was scored are the
same. No rank is given across leagues, nor to the base and the experts, nor without all benchmarks.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Generic

from results.errors import InputError
from results.kept_table import SUBMISSION
from results.leagues import ComparisonKey, League, described
from results.ranked import Entry, Measured, Source
from results.ranking import rank_groups
from results.run_manifest import run_names
from results.store import Store
from results.suite import RANKED_BY

if TYPE_CHECKING:  # what makes entries takes long to import, and kept ones need nothing of it
    from results.leaderboard_entries import LeaderboardEntry


@dataclass(frozen=True)
class Standing(Generic[Entry]):
    """An entry in its league.

    Attributes:
        entry: what stands there.
        league: the league's id.
        sources: where it is from: several runs may hold the same records.
        ranks: its rank group by each statistic; None where it has none.
    """

    entry: Entry
    league: str
    sources: tuple[Source, ...]
    ranks: Mapping[str, int | None]

    @property
    def id(self) -> str:
        """One of its own: the same records may stand in several leagues."""
        return f"{self.league}-{self.entry.id}"


@dataclass(frozen=True)
class Leaderboard(Generic[Entry]):
    """Leagues, those with most entries first, and who stands in them."""

    leagues: tuple[League, ...]
    standings: tuple[Standing[Entry], ...]


def ranks_of(measured: Sequence[Measured]) -> list[int]:
    """The rank group of each entry of a league, by one statistic."""
    return rank_groups(
        [one.value for one in measured], [one.draws() for one in measured], [one.seeds for one in measured]
    )


def gather(stores: Sequence[Path], runs: Sequence[str] = ()) -> "Leaderboard[LeaderboardEntry]":
    """Make a leaderboard of runs, each of which is compared.

    Args and errors are those of `arrange`.
    """
    from results.run_entries import read_run

    return arrange(read_run, stores, runs)


def arrange(
    read: Callable[[Store, str], tuple[ComparisonKey, Sequence[Entry]]],
    stores: Sequence[Path],
    runs: Sequence[str] = (),
    rank: Callable[[Sequence[Measured]], list[int]] = ranks_of,
) -> Leaderboard[Entry]:
    """Make a leaderboard of what runs bring to it.

    Args:
        read: gives what a run of a store, by its name, has in common with others, and its entries.
        stores: their folders; a submission is one, too.
        runs: names of the runs; by default all of them.
        rank: gives the rank groups of a league's entries by one statistic.

    Raises:
        InputError: a store has no runs, a submission is not whole, no store has one of the names, a run
            cannot be compared, or no run has a merged checkpoint.
    """
    compared = [read(store, name) for store, name in _runs(stores, runs)]
    # The most complete first: what lacks a benchmark then finds the league that it would be in.
    compared.sort(key=lambda pair: -len(pair[0].scoring))
    leagues: list[ComparisonKey] = []
    members: dict[str, dict[str, Standing[Entry]]] = {}
    for key, entries in compared:
        league = next((league for league in leagues if league.admits(key)), key)
        if league is key:
            leagues.append(key)
        _enter(members.setdefault(league.league, {}), entries, league.league)
    sizes = {
        name: sum(standing.entry.role == "merged" for standing in standings.values())
        for name, standings in members.items()
    }
    kept = sorted((key for key in leagues if sizes[key.league]), key=lambda key: -sizes[key.league])
    assert len({key.league for key in kept}) == len(kept)
    if not kept:
        raise InputError(f"{_listed(stores)}: no run has a merged checkpoint; make one with 'manyshot run'")
    return Leaderboard(
        tuple(described(kept)),
        tuple(standing for key in kept for standing in _ranked(list(members[key.league].values()), rank)),
    )


def _opened(root: Path) -> Store:
    """A store, or a submission, which is checked first.

    Raises:
        InputError: it has no runs, or the submission is not whole.
    """
    store = Store(root)
    if (root / SUBMISSION).is_file():
        from results.submission import check_submission

        store = check_submission(root)
    if not run_names(store):
        raise InputError(
            f"{root / 'runs'}: no runs; make one with 'manyshot run', or give the store that has it"
        )
    return store


def _runs(stores: Sequence[Path], names: Sequence[str]) -> list[tuple[Store, str]]:
    distinct: dict[Path, Path] = {}
    for root in stores:
        distinct.setdefault(root.resolve(), root)
    known = [(store, name) for store in map(_opened, distinct.values()) for name in run_names(store)]
    there_are = Counter(name for _, name in known)
    for name in names:
        if name not in there_are:
            raise InputError(f"{_listed(stores)}: no run '{name}'; there are {', '.join(sorted(there_are))}")
    return [(store, name) for store, name in known if not names or name in names]


def _listed(stores: Sequence[Path]) -> str:
    return ", ".join(map(str, stores))


def _enter(members: dict[str, Standing[Entry]], entries: Iterable[Entry], league: str) -> None:
    """Add entries to a league, each once, with all its sources."""
    for entry in entries:
        known = members.get(entry.id) or Standing(entry, league, (), {})
        sources = dict.fromkeys((*known.sources, entry.source))
        members[entry.id] = replace(known, sources=tuple(sources))


def _ranked(
    members: Sequence[Standing[Entry]], rank: Callable[[Sequence[Measured]], list[int]]
) -> list[Standing[Entry]]:
    """The standings of a league with their ranks."""
    ranks: dict[str, dict[str, int]] = {}
    for statistic in RANKED_BY:
        every = {standing.entry.id: standing.entry.measured(statistic) for standing in members}
        known = {name: measured for name, measured in every.items() if measured is not None}
        ranks[statistic] = dict(zip(known, rank(list(known.values())), strict=True))
    return [
        replace(standing, ranks={name: ranks[name].get(standing.entry.id) for name in RANKED_BY})
        for standing in members
    ]
