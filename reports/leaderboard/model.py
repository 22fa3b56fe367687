"""What the page is told, as JSON: the rows of its table, and an entry's details."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import yaml
from pydantic import JsonValue

from reports.leaderboard.pictures import Picture
from results.leaderboard import Leaderboard, Standing
from results.leaderboard_entries import BenchmarkScore
from results.leagues import League
from results.markdown import printable
from results.pooled import Pooled
from results.samples import shortened

_DIGITS = 5
_LONGEST_CODE = 20_000
_OWN = "# The method's source is below: save it beside this file, under the name that it has here.\n"


def table_of(board: Leaderboard) -> dict[str, Any]:
    """What the table shows and sorts by: leagues, and one row for each standing, in order."""
    indices = {league.id: index for index, league in enumerate(board.leagues)}
    experts = _experts(board)
    return {
        "leagues": [_league(league) for league in board.leagues],
        "entries": [_row(standing, indices[standing.league], experts) for standing in board.standings],
    }


def details_of(standing: Standing, pictures: Sequence[Picture]) -> dict[str, Any]:
    """What an entry's panel shows beside its row of the table."""
    entry = standing.entry
    return {
        "checkpoints": [
            {"seed": seed_entry.seed, "path": seed_entry.path, "digest": seed_entry.checkpoint.digest}
            for seed_entry in entry.checkpoints
        ],
        "sources": [asdict(source) for source in standing.sources],
        "notes": [printable(note) for note in entry.notes],
        "recipe": _yaml(entry.recipe, is_own=entry.source_code is not None),
        "code": shortened(entry.source_code, _LONGEST_CODE),
        "pictures": [asdict(picture) for picture in pictures],
        "scores": [_score(score) for score in entry.benchmarks],
        "samples": [
            {"benchmark": printable(name), "documents": [asdict(document) for document in documents]}
            for name, documents in entry.samples.items()
        ],
    }


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
        "settings": _in_words(league.settings),
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


def _experts(board: Leaderboard) -> dict[str, str]:
    """Letters for the sets of experts that scores are divided by, in leagues that have several."""
    letters: dict[str, str] = {}
    for league in board.leagues:
        members = [standing.entry for standing in board.standings if standing.league == league.id]
        sets = dict.fromkeys(entry.experts for entry in members if entry.role == "merged")
        if len(sets) > 1:
            letters |= {f"{league.id}{experts}": _letter(index) for index, experts in enumerate(sets)}
    return letters


def _letter(index: int) -> str:
    """A, B, …, Z, A1, B1, …"""
    return chr(ord("A") + index % 26) + (str(index // 26) if index >= 26 else "")


def _row(standing: Standing, league_index: int, experts: Mapping[str, str]) -> dict[str, Any]:
    entry, checkpoint = standing.entry, standing.entry.checkpoints[0]
    return {
        "id": standing.id,
        "league": league_index,
        "role": entry.role,
        "title": printable(entry.title),
        "method": printable(checkpoint.method or ""),
        "settings": _in_words(checkpoint.settings),
        "protocol": printable(checkpoint.protocol or ""),
        "seeds": len(entry.checkpoints),
        "n": entry.n,
        "experts": experts.get(f"{standing.league}{entry.experts}"),
        "scored": list(entry.scored),
        "ranks": dict(standing.ranks),
        "average": _pooled(entry.average),
        "worst_task": _pooled(entry.worst_task),
        "weakest": entry.weakest and printable(entry.weakest),
        "gap": _pooled(entry.gap),
        "tasks": [_pooled(performance) for performance in entry.tasks.values()],
    }


def _score(score: BenchmarkScore) -> dict[str, Any]:
    return {
        "benchmark": printable(score.benchmark.name),
        "task": score.task and printable(score.task),
        "metric": printable(score.benchmark.metric),
        "higher_is_better": score.benchmark.higher_is_better,
        "n": score.n,
        "score": _pooled(score.score),
        "expert": _rounded(score.expert),
        "base": _rounded(score.base),
        "performance": _pooled(score.performance),
        "forgetting": _pooled(score.forgetting),
        "left_out": score.left_out,
    }


def _pooled(pooled: Pooled | None) -> dict[str, Any] | None:
    if pooled is None or pooled.value is None:
        return None
    documents, seeds = pooled.documents, pooled.seeds
    return {
        "mean": _rounded(pooled.value),
        "documents": documents and [_rounded(documents.low), _rounded(documents.high)],
        "seeds": seeds and [_rounded(seeds.low), _rounded(seeds.high)],
    }


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, _DIGITS)


def _in_words(settings: Mapping[str, JsonValue]) -> str:
    return printable(", ".join(f"{name} {value}" for name, value in settings.items() if value is not None))


def _yaml(recipe: Mapping[str, JsonValue], *, is_own: bool) -> str:
    if not recipe:
        return ""
    text: str = yaml.safe_dump(dict(recipe), sort_keys=False, allow_unicode=True, width=100)
    return _OWN + text if is_own else text
