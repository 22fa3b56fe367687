"""Scores of checkpoints on growing parts of the tasks' validation documents, document by document.

A part is the same documents for all checkpoints, so what two of them share cancels in differences. Documents
that are one question in several languages are in one part. What is scored lies in the store, under the
benchmark's name with its split and part: `lab_math@validation[0-0.25, seed 0]`.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pandas as pd

from bench.benchmark import Benchmark
from bench.losses import LOSS_VERSION, example_losses
from bench.prompts import documents_of
from bench.score_settings import whole
from bench.scored_checkpoint import ScoredCheckpoint
from bench.signals import ValidationSignals
from bench.suite import Suite, SuiteTask
from merging.examples import Example, examples_digest
from results.aggregation import aggregate, document_columns
from results.bootstrap import align_documents, resample_together
from results.errors import InputError
from results.intervals import Draws
from results.json_values import cache_key
from results.metrics import Score
from results.reading import read_json
from results.shared_items import ITEM
from results.store import DOCUMENT_KEY
from results.suite import BenchmarkSpec, SuiteSpec
from results.words import counted
from results.writing import write_atomically

_PERPLEXITY = "word_perplexity"
"""Of a task without validation rows: e to the answers' mean token loss. Its inverse is the score."""
Kept = Mapping[str, Sequence[str]]
"""By benchmark, what was kept of each part: digests of records, or names of files of losses."""


@dataclass(frozen=True)
class PartScore:
    """A checkpoint's score on one part of a benchmark.

    Attributes:
        kept: by what it is found again.
        documents: how many documents were read for it.
    """

    kept: str
    documents: int


class ValidationParts:
    """Scores checkpoints on parts of the validation documents.

    Args:
        signals: have the scorer, the settings and the validation data.
        suite: whose tasks are measured.
        shares: where the parts end, as shares of the documents; (1.0,) is all of them at once.
        seed: of the order of the documents.

    Attributes:
        spec: the suite as it is measured here, for `results.metrics`.
        parts: how many there are.

    Raises:
        InputError: a benchmark has fewer documents than there are parts, or cannot be scored by parts.
    """

    def __init__(
        self, signals: ValidationSignals, suite: Suite, shares: Sequence[float] = (1.0,), seed: int = 0
    ) -> None:
        self.parts, self._seed = len(shares), seed
        order = _Order(tuple(shares), seed)
        self._sources: dict[str, _Source] = {}
        for name, task in suite.tasks.items():
            self._sources |= _sources(signals, name, task, order)
        self.spec = SuiteSpec(
            name=suite.name,
            tasks={
                name: tuple(self._sources[benchmark.name].spec for benchmark in task.benchmarks)
                for name, task in suite.tasks.items()
            },
        )
        self._rows: dict[tuple[str, str], pd.DataFrame] = {}
        for source in self._sources.values() if self.parts > 1 else ():
            source.check()

    def score(self, checkpoint: ScoredCheckpoint, part: int) -> dict[str, PartScore]:
        """Score a checkpoint on one part of every benchmark, or find it scored.

        Args:
            checkpoint: which.
            part: number of the part, from 0.
        """
        return {name: source.score(checkpoint, part) for name, source in self._sources.items()}

    def values(self, kept: Kept) -> dict[str, float]:
        """Return by benchmark the score on the documents of the parts that were kept."""
        return {
            name: self._sources[name].mapped(
                aggregate(self._sources[name].spec.metric, self.documents(name, of))
            )
            for name, of in kept.items()
        }

    def resampled(self, kept: Mapping[str, Kept]) -> dict[str, dict[str, Draws]]:
        """Return scores in every resample of the documents, the same resamples for all checkpoints.

        Args:
            kept: by checkpoint what was kept of the same parts.

        Returns:
            By benchmark and checkpoint, shape (resamples,).
        """
        aligned = [
            align_documents(
                name,
                source.spec.metric,
                {label: self.documents(name, of[name]) for label, of in kept.items()},
            )
            for name, source in self._sources.items()
        ]
        return {
            name: {label: self._sources[name].mapped(draws) for label, draws in of.items()}
            for name, of in resample_together(aligned, seed=self._seed).items()
        }

    def documents(self, name: str, kept: Sequence[str]) -> pd.DataFrame:
        """Return a benchmark's documents of the parts that were kept, with what its metric is made of."""
        for one in kept:
            if (name, one) not in self._rows:
                self._rows[name, one] = self._sources[name].documents(one)
        return pd.concat([self._rows[name, one] for one in kept], ignore_index=True)


class _Source(Protocol):
    """What measures a benchmark's task on validation data.

    Attributes:
        spec: the metric, and which scores are better.
    """

    spec: BenchmarkSpec

    def check(self) -> None:
        """Refuse documents that cannot be asked in parts.

        Raises:
            InputError: says why.
        """

    def score(self, checkpoint: ScoredCheckpoint, part: int) -> PartScore:
        """Score a part, or find it scored."""

    def documents(self, kept: str) -> pd.DataFrame:
        """Return the rows of a part that was scored."""

    def mapped(self, value: Score) -> Score:
        """Return the score of a metric's value."""


@dataclass(frozen=True)
class _Order:
    """In which order documents are read: items by a number that is drawn for each, cut where parts end.

    Those of each lm-eval task, such as a language, are spread evenly over the order.
    """

    shares: tuple[float, ...]
    seed: int

    @property
    def is_one(self) -> bool:
        return len(self.shares) == 1

    def title(self, part: int) -> str:
        """What tells a part from all others, since what has one name is read once."""
        begin, end = (0.0, *self.shares)[part : part + 2]
        return f"{begin:g}-{end:g}, seed {self.seed}"

    def numbers(self, items: Mapping[str, Sequence[str]], part: int, source: str) -> dict[str, list[int]]:
        """The numbers of a part's documents, by lm-eval task.

        Args:
            items: the item of each document, by lm-eval task.
            part: number of the part, from 0.
            source: what has the documents, for an error.

        Raises:
            InputError: there are too few for so many parts.
        """
        drawn = self._drawn(items)
        first, last = (round(share * len(drawn)) for share in (0.0, *self.shares)[part : part + 2])
        wanted = set(drawn[first:last])
        found = {
            task: [number for number, item in enumerate(of) if item in wanted] for task, of in items.items()
        }
        if not all(found.values()):
            raise InputError(
                f"{source} has {counted(len(drawn), 'validation document')}, too few for "
                f"{len(self.shares)} parts: give a larger `first` share of `halving`, or `share` of "
                "`estimate`, or leave it out."
            )
        return found

    def _drawn(self, items: Mapping[str, Sequence[str]]) -> list[str]:
        """All items in the order in which they are read: of every lm-eval task the same share at any time."""
        tasks: dict[str, list[str]] = {}
        for task, of in items.items():
            for item in dict.fromkeys(of):
                tasks.setdefault(item, []).append(task)
        strata: dict[tuple[str, ...], list[str]] = {}
        for item in sorted(tasks, key=self._place):
            strata.setdefault(tuple(tasks[item]), []).append(item)
        placed = [
            ((rank + 0.5) / len(stratum), self._place(item), item)
            for stratum in strata.values()
            for rank, item in enumerate(stratum)
        ]
        return [item for *_, item in sorted(placed)]

    def _place(self, item: str) -> bytes:
        return hashlib.sha256(f"{self.seed}\0{item}".encode()).digest()


class _Rows:
    """A benchmark on its validation rows."""

    def __init__(
        self, signals: ValidationSignals, of_suite: Benchmark, benchmark: Benchmark, order: _Order
    ) -> None:
        self.spec = of_suite.spec
        self._signals, self._benchmark, self._order = signals, benchmark, order
        self._asked: dict[int, Benchmark] = {}

    def check(self) -> None:
        for part in range(len(self._order.shares)):
            self._part(part)

    def score(self, checkpoint: ScoredCheckpoint, part: int) -> PartScore:
        benchmark = self._benchmark if self._order.is_one else self._part(part)
        with self._signals.progress(f"{Path(checkpoint.name).name} · {benchmark.name}") as progress:
            record = self._signals.scorer.score(checkpoint, benchmark, progress).record
        return PartScore(record.key.digest, record.n)

    def documents(self, kept: str) -> pd.DataFrame:
        store = self._signals.scorer.store
        return store.documents(store.get(kept), [*DOCUMENT_KEY, ITEM, *document_columns(self.spec.metric)])

    def mapped(self, value: Score) -> Score:
        return value

    def _part(self, part: int) -> Benchmark:
        """The benchmark asked the documents of a part alone, as `name[part]`."""
        if part not in self._asked:
            benchmark, scorer = self._benchmark, self._signals.scorer
            if benchmark.groups or benchmark.weighs_documents_equally:
                raise InputError(
                    f"{benchmark.name} is a group of lm-eval's, which has no score of some documents: leave "
                    "out `halving` or `estimate`."
                )
            rows, limit = scorer.rows(benchmark), whole(scorer.settings.limit_of(benchmark.name))
            items = {
                task.name: [
                    benchmark.items.name(document, number) if benchmark.items else f"{task.name}/{number}"
                    for number, document in enumerate(documents_of(task, rows[task.name])[:limit])
                ]
                for task in benchmark.tasks
            }
            chosen = self._order.numbers(items, part, benchmark.name)
            self._asked[part] = benchmark.but(
                name=f"{benchmark.name}[{self._order.title(part)}]",
                documents={task: tuple(numbers) for task, numbers in chosen.items()},
            )
        return self._asked[part]


class _Answers:
    """The answers of a task's validation examples, whose likelihood stands in where it has no rows.

    Args:
        signals: have the examples.
        task: which.
        benchmark: in whose place.
        order: of the examples.
        counted: whether this one counts what is read; all benchmarks of a task share the answers.
    """

    def __init__(
        self, signals: ValidationSignals, task: str, benchmark: Benchmark, order: _Order, *, counted: bool
    ) -> None:
        self.spec = BenchmarkSpec(name=benchmark.name, metric=_PERPLEXITY)
        self._signals, self._task, self._order, self._counted = signals, task, order, counted

    def check(self) -> None:
        for part in range(len(self._order.shares)):
            self._examples(part)

    def score(self, checkpoint: ScoredCheckpoint, part: int) -> PartScore:
        signals = self._signals
        examples = self._examples(part)
        key = {
            "kind": "losses over completion",
            "version": LOSS_VERSION,
            "checkpoint": checkpoint.identity.digest,
            "examples": examples_digest(examples),
            "max_length": signals.training.max_length,
            "end_token": signals.training.end_token,
            "engine": signals.scorer.engine_key(),
            **signals.chat_key,
        }
        name = cache_key(key)
        if not self._file(name).is_file():
            engine = signals.scorer.engine_with(checkpoint)
            with signals.progress(f"{Path(checkpoint.name).name} · loss on {self._task}") as progress:
                settings, form = (
                    signals.training.but(loss="completion"),
                    signals.scorer.chat_forms.find(checkpoint),
                )
                losses = example_losses(engine, examples, settings, form, progress)
            self._file(name).parent.mkdir(parents=True, exist_ok=True)
            # Parts have numbers of their own, the same for all checkpoints.
            first = part * len(signals.data.examples(self._task))
            content = {**key, "task": self._task, "name": checkpoint.name, "first": first, "losses": losses}
            write_atomically(self._file(name), f"{json.dumps(content, indent=1)}\n".encode())
        return PartScore(name, len(self.documents(name)) if self._counted else 0)

    def _examples(self, part: int) -> list[Example]:
        examples = self._signals.data.examples(self._task)
        if self._order.is_one:
            return examples
        items = {self._task: [f"{self._task}/{number}" for number in range(len(examples))]}
        return [examples[number] for number in self._order.numbers(items, part, self._task)[self._task]]

    def documents(self, kept: str) -> pd.DataFrame:
        content = read_json(self._file(kept), "remove it, and it is measured again")
        losses, first = content["losses"], content["first"]
        return pd.DataFrame(
            {
                "lm_eval_task": self._task,
                "doc_id": range(first, first + len(losses)),
                "logprob": [-loss for loss in losses],
                "units": 1.0,
            }
        )

    def mapped(self, value: Score) -> Score:
        return 1 / value

    def _file(self, name: str) -> Path:
        return self._signals.scorer.store.root / "signals" / f"{name}.json"


def _sources(signals: ValidationSignals, name: str, task: SuiteTask, order: _Order) -> dict[str, _Source]:
    if task.validation_split is not None:
        return {
            one.name: _Rows(signals, one, one.on_split(task.validation_split), order)
            for one in task.benchmarks
        }
    return {
        one.name: _Answers(signals, name, one, order, counted=one is task.benchmarks[0])
        for one in task.benchmarks
    }
