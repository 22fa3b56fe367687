"""The leaderboard: entries from all runs of some stores, ranked among those that can be compared.

Entries are in one league where the suite with its tasks, the backbone, and how everything was scored are the
same. No rank is given across leagues, nor to the base and the experts, nor without all benchmarks.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from results.comparison import compare
from results.errors import InputError
from results.intervals import Draws
from results.kept_rows import KeptRows
from results.leaderboard_entries import LeaderboardEntry, Source, entries_of
from results.leagues import ComparisonKey, League, comparison_key, described
from results.ranking import Seeds, rank_groups
from results.run_manifest import load_run, run_names
from results.store import Store
from results.submission import MANIFEST, check_submission
from results.suite import RANKED_BY


@dataclass(frozen=True)
class Standing:
    """An entry in its league.

    Attributes:
        entry: what stands there.
        league: the league's id.
        sources: where it is from: several runs may hold the same records.
        ranks: its rank group by each statistic; None where it has none.
    """

    entry: LeaderboardEntry
    league: str
    sources: tuple[Source, ...]
    ranks: Mapping[str, int | None]

    @property
    def id(self) -> str:
        """One of its own: the same records may stand in several leagues."""
        return f"{self.league}-{self.entry.id}"


@dataclass(frozen=True)
class Leaderboard:
    """Leagues, those with most entries first, and who stands in them."""

    leagues: tuple[League, ...]
    standings: tuple[Standing, ...]


def gather(
    stores: Sequence[Path], runs: Sequence[str] = (), watch: Callable[[str], object] = lambda _: None
) -> Leaderboard:
    """Make a leaderboard of runs.

    Args:
        stores: their folders; a submission is one, too.
        runs: names of the runs; by default all of them.
        watch: is told of every run before it is compared.

    Raises:
        InputError: a store has no runs, a submission is not whole, no store has one of the names, a run
            cannot be compared, or no run has a merged checkpoint.
    """
    compared: list[tuple[ComparisonKey, list[LeaderboardEntry]]] = []
    for store, name in _runs(stores, runs):
        watch(f"{store.root}: {name}")
        run = load_run(store, name)
        records = KeptRows(store, name)
        comparison = compare(run, store, kept=records)
        source = Source(str(store.root), name)
        compared.append(
            (comparison_key(run, comparison, records), entries_of(comparison, run, records, source))
        )
    # The most complete first: what lacks a benchmark then finds the league that it would be in.
    compared.sort(key=lambda pair: -len(pair[0].scoring))
    leagues: list[ComparisonKey] = []
    members: dict[str, dict[str, Standing]] = {}
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
        tuple(standing for key in kept for standing in _ranked(list(members[key.league].values()))),
    )


def _opened(root: Path) -> Store:
    """A store, or a submission, which is checked first.

    Raises:
        InputError: it has no runs, or the submission is not whole.
    """
    store = check_submission(root) if (root / MANIFEST).is_file() else Store(root)
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


def _enter(members: dict[str, Standing], entries: Iterable[LeaderboardEntry], league: str) -> None:
    """Add entries to a league, each once, with all its sources."""
    for entry in entries:
        known = members.get(entry.id) or Standing(entry, league, (), {})
        sources = dict.fromkeys((*known.sources, entry.source))
        members[entry.id] = replace(known, sources=tuple(sources))


def _ranked(members: Sequence[Standing]) -> list[Standing]:
    """The standings of a league with their ranks."""
    ranks: dict[str, dict[str, int]] = {}
    for statistic in RANKED_BY:
        known: dict[str, tuple[float, Draws, Seeds]] = {}
        for entry in [standing.entry for standing in members]:
            pooled = entry.pooled(statistic)
            draws, is_ranked = pooled.draws, entry.role == "merged" and entry.is_complete
            if is_ranked and pooled.value is not None and draws is not None:
                known[entry.id] = pooled.value, draws, pooled.by_seed
        values, drawn, seeds = zip(*known.values(), strict=True) if known else ((), (), ())
        groups = rank_groups(values, drawn, seeds)
        ranks[statistic] = dict(zip(known, groups, strict=True))
    return [
        replace(standing, ranks={name: ranks[name].get(standing.entry.id) for name in RANKED_BY})
        for standing in members
    ]
