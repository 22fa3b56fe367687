"""Leagues of a leaderboard: which runs were made alike, so that their entries can be ranked together."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from results.comparison import Comparison
from results.record import JSON, digest_of
from results.run import Run
from results.store import DOCUMENT_KEY, Store
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
    settings: Mapping[str, JSON]


@dataclass(frozen=True)
class Terms:
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

    @property
    def scheme(self) -> str:
        """A digest of everything but the base."""
        scoring = {
            name: [one.definition, one.data, one.documents, dict(one.settings)]
            for name, one in self.scoring.items()
        }
        return digest_of([self.suite.name, _tasks(self.suite), scoring, sorted(self.left_out)])[:12]

    @property
    def league(self) -> str:
        """A digest of everything. Where no base is known, nobody else's is known to be the same."""
        return digest_of([self.scheme, self.base or self.run])[:12]

    def take(self, other: "Terms") -> bool:
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
        id: the same as long as all this is.
        scheme: the same for leagues that differ in the backbone only.
        suite: what was scored.
        label: the suite's name, with what tells it from others of that name.
        base: digest of the backbone's checkpoint; None where it is not known.
        backbone: the last part of its path, with a digest where two would be called the same.
        limit: most documents of each lm-eval task; None for all.
        settings: of the scores, those that are the same for all benchmarks.
        left_out: benchmarks that count in no aggregate, and why.
    """

    id: str
    scheme: str
    suite: SuiteSpec
    label: str
    base: str | None
    backbone: str
    limit: int | None
    settings: Mapping[str, JSON]
    left_out: Mapping[str, str]


def terms_of(run: Run, comparison: Comparison, store: Store) -> Terms:
    """The terms of a run that was compared, so that all its entries were scored in the same way.

    Raises:
        InputError: a record is missing or broken.
    """
    scoring = {}
    for benchmark in run.suite.task_benchmarks:
        digest = next(
            (one.records[benchmark.name] for one in run.entries if benchmark.name in one.records), None
        )
        if digest is not None:
            record = store.get(digest)
            key, documents = record.key, store.documents(record, DOCUMENT_KEY)
            names = sorted(documents.astype(str).itertuples(index=False, name=None))
            scoring[benchmark.name] = Scoring(key.definition, key.data, digest_of(names), key.settings)
    base = next((one for one in run.entries if one.role == "base"), None)
    return Terms(
        run=digest_of(run.to_json()),
        suite=run.suite,
        base=base.checkpoint.digest if base else None,
        path=base.path if base else "",
        limit=comparison.limit,
        scoring=scoring,
        left_out=comparison.left_out,
    )


def described(terms: Sequence[Terms]) -> list[League]:
    """The leagues of these terms, each called by what tells it from the others."""
    labels = _labels({one.scheme: one for one in terms})
    called = Counter(name for _, name in {(one.base or one.run, _backbone(one)) for one in terms})
    return [
        League(
            id=one.league,
            scheme=one.scheme,
            suite=one.suite,
            label=labels[one.scheme],
            base=one.base,
            backbone=f"{_backbone(one)} ({(one.base or one.run)[:6]})"
            if called[_backbone(one)] > 1
            else _backbone(one),
            limit=one.limit,
            settings=_shared([scoring.settings for scoring in one.scoring.values()]),
            left_out=one.left_out,
        )
        for one in terms
    ]


def _tasks(suite: SuiteSpec) -> JSON:
    tasks: JSON = suite.to_dict()["tasks"]
    return tasks


def _backbone(terms: Terms) -> str:
    return (Path(terms.path).name or terms.path) if terms.base else "unknown"


def _labels(schemes: Mapping[str, Terms]) -> dict[str, str]:
    """By scheme, the first text that no other has: name; number of tasks; tasks; limit; and digest."""
    texts = {}
    for scheme, one in schemes.items():
        number = f"{one.suite.name}, {len(one.suite.tasks)} tasks"
        tasks = f"{one.suite.name}: {', '.join(one.suite.tasks)}"
        limited = f"{tasks}; {'all documents' if one.limit is None else f'limit {one.limit}'}"
        texts[scheme] = [one.suite.name, number, tasks, limited, f"{limited} [{scheme[:6]}]"]
    counts = [Counter(column) for column in zip(*texts.values(), strict=True)]
    return {
        scheme: next(text for text, count in zip(mine, counts, strict=True) if count[text] == 1)
        for scheme, mine in texts.items()
    }


def _shared(settings: Sequence[Mapping[str, JSON]]) -> dict[str, JSON]:
    first = settings[0] if settings else {}
    return {name: value for name, value in first.items() if all(one.get(name) == value for one in settings)}
