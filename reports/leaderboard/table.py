"""What the page's table is told, as JSON: the leagues, and a row for each standing."""

from dataclasses import asdict
from typing import Any

from reports.leaderboard.shown import ShownEntry
from reports.leaderboard.words import in_words
from results.leaderboard import Leaderboard, Standing
from results.leagues import League
from results.markdown import printable


def table_of(board: Leaderboard[ShownEntry]) -> dict[str, Any]:
    """What the table shows and sorts by: leagues, and one row for each standing, in order."""
    indices = {league.id: index for index, league in enumerate(board.leagues)}
    blocks = {details: place for place, details in enumerate(details_of(board))}
    experts = _experts(board)

    def row(standing: Standing[ShownEntry]) -> dict[str, Any]:
        entry = standing.entry
        return {
            "id": standing.id,
            "league": indices[standing.league],
            "experts": experts.get(f"{standing.league}{entry.experts}"),
            "ranks": dict(standing.ranks),
            "sources": [asdict(source) for source in standing.sources],
            "details": [blocks[entry.details], entry.id],
            **entry.row,
        }

    return {
        "leagues": [_league(league) for league in board.leagues],
        "entries": [row(standing) for standing in board.standings],
    }


def details_of(board: Leaderboard[ShownEntry]) -> list[bytes]:
    """What panels show, each run's once; a row says in which it is."""
    return list(dict.fromkeys(standing.entry.details for standing in board.standings))


def _league(league: League) -> dict[str, Any]:
    tasks = f"{league.key.suite.name}: {', '.join(league.key.suite.tasks)}"
    return {
        "scheme": league.key.scheme,
        "label": printable(league.label),
        "suite": printable(league.label if league.label.startswith(tasks) else tasks),
        "base": league.key.base or league.id,
        "backbone": printable(league.backbone),
        "tasks": [printable(task) for task in league.key.suite.tasks],
        "limit": league.key.limit,
        "settings": in_words(league.settings),
        "without": printable(_without(league)),
        "left_out": [printable(reason) for reason in league.key.left_out.values()],
    }


def _without(league: League) -> str:
    """Which tasks count in no aggregate, and which benchmarks of the others; empty where all count."""
    counted = league.key.suite.counted(league.key.left_out)
    names = [
        benchmark.name if task in counted else task
        for task, benchmarks in league.key.suite.tasks.items()
        for benchmark in benchmarks[: None if task in counted else 1]
        if benchmark.name in league.key.left_out
    ]
    if not names:
        return ""
    reason = "its expert is at chance" if len(names) == 1 else "their experts are at chance"
    return f"{', '.join(names)} left out: {reason}"


def _experts(board: Leaderboard[ShownEntry]) -> dict[str, str]:
    """Letters for the sets of experts that scores are divided by, in leagues that have several."""
    sets: dict[str, dict[str, None]] = {league.id: {} for league in board.leagues}
    for standing in board.standings:
        if standing.entry.role == "merged":
            sets[standing.league][standing.entry.experts] = None
    return {
        f"{league}{experts}": _letter(index)
        for league, of_league in sets.items()
        if len(of_league) > 1
        for index, experts in enumerate(of_league)
    }


def _letter(index: int) -> str:
    """A, B, …, Z, A1, B1, …"""
    return chr(ord("A") + index % 26) + (str(index // 26) if index >= 26 else "")
