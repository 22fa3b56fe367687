"""Leagues of a leaderboard: which runs were made alike, so that their entries can be ranked together."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydantic import JsonValue

from results.json_values import digest_of
from results.suite import SuiteSpec


@dataclass(frozen=True)
class Scoring:
    """How a benchmark was scored.

    Attributes:
        definition: its digest.
        data: digest of all its documents.
        documents: digest over which of them were scored.
        settings: of the scoring.
    """

    definition: str
    data: str
    documents: str
    settings: Mapping[str, JsonValue]


@dataclass(frozen=True)
class ComparisonKey:
    """What runs must have in common.

    Attributes:
        run: digest of the run's manifest.
        suite: what was scored.
        base: digest of the base's checkpoint; None where the run has no base.
        path: where the base lay.
        limit: most documents of each lm-eval task; None for all.
        scoring: by benchmark, of those that measure a task and were scored.
        left_out: benchmarks that count in no aggregate, and why.
    """

    run: str
    suite: SuiteSpec
    base: str | None
    path: str
    limit: int | None
    scoring: Mapping[str, Scoring]
    left_out: Mapping[str, str]

    @cached_property
    def scheme(self) -> str:
        """A digest of everything but the base."""
        scored = {
            name: [scoring.definition, scoring.data, scoring.documents, dict(scoring.settings)]
            for name, scoring in self.scoring.items()
        }
        return digest_of([self.suite.name, _tasks(self.suite), scored, sorted(self.left_out)])[:12]

    @cached_property
    def league(self) -> str:
        """A digest of everything. Where no base is known, nobody else's is known to be the same."""
        return digest_of([self.scheme, self.base or self.run])[:12]

    def admits(self, other: "ComparisonKey") -> bool:
        """Whether a run that was scored on no more can be compared: alike on all that it was scored on."""
        if self.base is None:
            return self.run == other.run
        if (self.base, self.suite.name) != (other.base, other.suite.name):
            return False
        shared = {name for name in self.scoring if name in other.scoring}
        return _tasks(self.suite) == _tasks(other.suite) and all(
            self.scoring[name] == other.scoring[name] and (name in self.left_out) == (name in other.left_out)
            for name in shared
        )


@dataclass(frozen=True)
class League:
    """What entries share that are ranked together.

    Attributes:
        key: all that their runs have in common.
        label: the suite's name, with what tells it from others of that name.
        backbone: the last part of the base's path, with a digest where two would be called the same.
    """

    key: ComparisonKey
    label: str
    backbone: str

    @property
    def id(self) -> str:
        """The same as long as the key is."""
        return self.key.league

    @property
    def settings(self) -> dict[str, JsonValue]:
        """Settings of the scores that are the same for all benchmarks."""
        each = [scoring.settings for scoring in self.key.scoring.values()]
        return {
            name: value
            for name, value in (each[0] if each else {}).items()
            if all(settings.get(name) == value for settings in each)
        }


def described(keys: Sequence[ComparisonKey]) -> list[League]:
    """The leagues of these keys, each called by what tells it from the others."""
    labels = _labels({key.scheme: key for key in keys})
    called = Counter(name for _, name in {(key.base or key.run, _backbone(key)) for key in keys})
    return [
        League(
            key,
            labels[key.scheme],
            f"{_backbone(key)} ({(key.base or key.run)[:6]})"
            if called[_backbone(key)] > 1
            else _backbone(key),
        )
        for key in keys
    ]


def _tasks(suite: SuiteSpec) -> JsonValue:
    return [
        {"task": task, "benchmarks": [benchmark.model_dump() for benchmark in of_task]}
        for task, of_task in suite.tasks.items()
    ]


def _backbone(key: ComparisonKey) -> str:
    return (Path(key.path).name or key.path) if key.base else "unknown"


def _labels(schemes: Mapping[str, ComparisonKey]) -> dict[str, str]:
    """By scheme, the first text that no other has: name; number of tasks; tasks; limit; and digest."""
    texts = {}
    for scheme, key in schemes.items():
        number = f"{key.suite.name}, {len(key.suite.tasks)} tasks"
        tasks = f"{key.suite.name}: {', '.join(key.suite.tasks)}"
        limited = f"{tasks}; {'all documents' if key.limit is None else f'limit {key.limit}'}"
        texts[scheme] = [key.suite.name, number, tasks, limited, f"{limited} [{scheme[:6]}]"]
    counts = [Counter(column) for column in zip(*texts.values(), strict=True)]
    return {
        scheme: next(text for text, count in zip(of_scheme, counts, strict=True) if count[text] == 1)
        for scheme, of_scheme in texts.items()
    }
