"""What the page is told of a run's entries, as JSON: a row of the table for each, and its details."""

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from pydantic import JsonValue

from reports.leaderboard.shown import ShownEntry
from reports.leaderboard.words import in_words
from results.leaderboard_entries import BenchmarkScore, LeaderboardEntry
from results.markdown import printable
from results.pooled import Pooled
from results.samples import shortened
from results.suite import RANKED_BY

_DIGITS = 5
_LONGEST_CODE = 20_000
_OWN = "# The method's source is below: save it beside this file, under the name that it has here.\n"


def shown_entries(entries: Sequence[LeaderboardEntry]) -> list[ShownEntry]:
    """What the page shows of the entries of a run."""
    details = {entry.id: details_of(entry) for entry in entries}
    compressed = zlib.compress(json.dumps(details, allow_nan=False, separators=(",", ":")).encode())

    def shown(entry: LeaderboardEntry) -> ShownEntry:
        numbers = {name: entry.measured(name) for name in RANKED_BY}
        return ShownEntry(
            id=entry.id,
            role=entry.role,
            experts=entry.experts,
            source=entry.source,
            row=_row(entry),
            details=compressed,
            numbers={name: measured for name, measured in numbers.items() if measured is not None},
        )

    return [shown(entry) for entry in entries]


def details_of(entry: LeaderboardEntry) -> dict[str, Any]:
    """What an entry's panel shows beside its row of the table."""
    return {
        "checkpoints": [
            {"seed": seed_entry.seed, "path": seed_entry.path, "digest": seed_entry.checkpoint.digest}
            for seed_entry in entry.checkpoints
        ],
        "notes": [printable(note) for note in entry.notes],
        "recipe": _yaml(entry.recipe, is_own=entry.source_code is not None),
        "code": shortened(entry.source_code, _LONGEST_CODE),
        "rounds": _rounds(entry),
        "scores": [_score(score) for score in entry.benchmarks],
        "samples": [
            {"benchmark": printable(name), "documents": [asdict(document) for document in documents]}
            for name, documents in entry.samples.items()
        ],
    }


def _rounds(entry: LeaderboardEntry) -> str | None:
    """A picture (SVG) of its performance over the rounds; None where it was not merged in rounds."""
    labels = {row.label for row in entry.rows}
    rounds = tuple(row for row in entry.comparison.rounds if row.entry.leads_to in labels)
    if entry.role != "merged" or not rounds:
        return None
    from reports.figures.rounds import performance_over_rounds  # with matplotlib

    with TemporaryDirectory() as folder:
        file = performance_over_rounds(replace(entry.comparison, rounds=rounds), Path(folder) / "rounds.svg")
        return file.read_text(encoding="utf-8")


def _row(entry: LeaderboardEntry) -> dict[str, JsonValue]:
    checkpoint = entry.checkpoints[0]
    return {
        "role": entry.role,
        "title": printable(entry.title),
        "method": printable(checkpoint.method or ""),
        "settings": in_words(checkpoint.settings),
        "protocol": printable(checkpoint.protocol or ""),
        "seeds": len(entry.checkpoints),
        "n": entry.n,
        "scored": list(entry.scored),
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


def _yaml(recipe: Mapping[str, JsonValue], *, is_own: bool) -> str:
    if not recipe:
        return ""
    text: str = yaml.safe_dump(dict(recipe), sort_keys=False, allow_unicode=True, width=100)
    return _OWN + text if is_own else text
