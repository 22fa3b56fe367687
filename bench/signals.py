"""Signals for merging: losses, divergences and scores of checkpoints on the tasks' validation data.

Each is measured once: what was measured is kept in the store, by digest.
"""

import copy
import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from bench.continuations import (
    CONTINUATIONS_VERSION,
    ExpertContinuations,
    continue_inputs,
    input_ids,
    mean_divergences,
)
from bench.divergence import DIVERGENCE_VERSION
from bench.engine import Engine, EngineSettings, Progress, TokenIds
from bench.engine_registry import fallback, find_engine, open_engine
from bench.losses import LOSS_VERSION, mean_loss
from bench.scored_checkpoint import ScoredCheckpoint
from bench.scoring import Scorer
from bench.suite import Suite
from bench.validation_data import ValidationData
from merging.checkpoints.pretrained import load_model, load_tokenizer, padding_of
from merging.examples import examples_digest
from merging.signals import ContinuationSettings, Divergence, ObjectiveKind, SignalNeeds
from merging.train_settings import Loss, TrainSettings
from results.errors import InputError
from results.json_values import cache_key
from results.writing import write_once

if TYPE_CHECKING:
    from bench.hf.objective import Matching

logger = logging.getLogger("manyshot.bench")
_LEARNED_AT_ONCE = {"cpu": 2048}
_MOST_LEARNED_AT_ONCE = 16384
"""Tokens in a forward and backward pass, padding included."""
WEIGHED_TOP_K = 64
"""Likeliest tokens by which tasks are weighed: a bound from below that keeps what is stored small."""

ShowProgress = Callable[[str], AbstractContextManager[Progress]]
"""Shows, under a description, how far a measurement is."""


def _show_nothing(_: str) -> AbstractContextManager[Progress]:
    return nullcontext(lambda _done, _total: None)


class ValidationSignals:
    """Measures checkpoints on validation data. It satisfies `merging.signals.Signals`.

    Args:
        scorer: has the engine, the settings and the store.
        suite: whose tasks are measured.
        data_root: local data root, or None for the hub.
        references: the standalone expert of each task, by whose scores validation scores are divided.
        training: its `max_length` and `end_token` say which tokens an example becomes.
        limit: most validation examples of a task; None takes all.
        progress: shows how far each measurement is.

    Attributes:
        data: the validation data.
        training: as given, or as usual.
    """

    def __init__(
        self,
        scorer: Scorer,
        suite: Suite,
        data_root: Path | None,
        *,
        references: Mapping[str, Path] | None = None,
        training: TrainSettings | None = None,
        limit: int | None = None,
        progress: ShowProgress = _show_nothing,
    ) -> None:
        self.scorer, self.progress = scorer, progress
        self._suite = suite
        self.data = ValidationData(suite, data_root, limit, scorer.prompts)
        self._references = references or {}
        self.training = training or TrainSettings()
        self._limit = limit
        self._opened: dict[Path, tuple[object, ScoredCheckpoint]] = {}

    def with_references(self, references: Mapping[str, Path]) -> "ValidationSignals":
        """The same signals with other standalone experts; what was read and opened is shared."""
        signals = copy.copy(self)
        signals._references = references
        return signals

    def benchmarks(self, task: str) -> int:
        """How many benchmarks measure a task."""
        return len(self._suite.tasks[task].benchmarks)

    def loss(self, checkpoint: Path, task: str, over: Loss) -> float:
        """The mean over validation examples of each one's mean token loss, of all its text or the answer."""
        opened = self._open(checkpoint)
        examples, key = self.data.examples(task), self._loss_key(opened, task, over)
        file = self._file(key)
        kept = _kept(file, "value")
        if kept is not None:
            return kept
        engine = self.scorer.engine_with(opened)
        with self.progress(f"{checkpoint.name} · loss on {task}") as progress:
            settings, form = self.training.but(loss=over), self.scorer.chat_forms.find(opened)
            value = mean_loss(engine, examples, settings, form, progress)
        if not math.isfinite(value):
            raise InputError(f"The loss of {checkpoint} on the task '{task}' is {value}.")
        _keep(file, {**key, "task": task, "name": str(checkpoint), "value": value})
        first = _kept(file, "value")  # of two processes that measure it, the first one's
        return value if first is None else first

    def _loss_key(self, opened: ScoredCheckpoint, task: str, over: Loss) -> dict[str, object]:
        return {
            "kind": f"loss over {over}",
            "version": LOSS_VERSION,
            "checkpoint": opened.identity.digest,
            "examples": examples_digest(self.data.examples(task)),
            "max_length": self.training.max_length,
            "end_token": self.training.end_token,
            "engine": self.scorer.engine_key(),
            **self.chat_key,
        }

    @property
    def chat_key(self) -> dict[str, object]:
        """What signals depend on where texts are conversations."""
        key = self.scorer.chat.key
        return {} if key is None else {"chat": key}

    def divergence(
        self,
        kind: Divergence,
        expert: Path,
        checkpoint: Path,
        task: str,
        settings: ContinuationSettings | None = None,
    ) -> float:
        """D(expert‖checkpoint): mean over the task's inputs of the mean over the expert's continuation."""
        settings = settings or ContinuationSettings(inputs=self._limit, top_k=WEIGHED_TOP_K)
        continuations = self.continuations(expert, task, settings)
        opened = self._open(checkpoint)
        key = {
            "kind": "divergences",
            "checkpoint": opened.identity.digest,
            "continuations": continuations.folder.name,
            "engine": self.scorer.engine_key(),
            "version": DIVERGENCE_VERSION,
        }
        file = self._file(key)
        kept = _kept(file, kind)
        if kept is not None:
            return kept
        engine = self.scorer.engine_with(opened)
        with self.progress(f"{checkpoint.name} · divergence on {task}") as progress:
            most = self.scorer.engine_kind.top_k(None)
            values = mean_divergences(engine, continuations, top_k=most, progress=progress)
        _keep(file, {**key, "task": task, "name": str(checkpoint)} | dict(values))
        return values[kind]

    def continuations(self, expert: Path, task: str, settings: ContinuationSettings) -> ExpertContinuations:
        """An expert's continuations of a task's inputs, made once and kept in the store."""
        opened, texts = self._open(expert), self.data.inputs(task, settings)
        other_engine = settings.exact and self.scorer.engine_kind.max_logprobs is not None
        engine_settings = self.scorer.engine_settings
        if other_engine:
            engine_settings = fallback(engine_settings)
        key = {
            "kind": "continuations",
            "checkpoint": opened.identity.digest,
            "inputs": cache_key(texts),
            "settings": [settings.max_new_tokens, settings.top_k],
            "engine": [engine_settings.name, *self.scorer.engine_key()[1:]],
            "version": CONTINUATIONS_VERSION,
            **self.chat_key,
        }
        folder = self.scorer.store.root / "signals" / f"continuations-{cache_key(key)[:32]}"
        if folder.is_dir():
            return ExpertContinuations.open(folder)
        if settings.inputs is not None and len(texts) < settings.inputs:
            logger.info("%s has %d inputs, not %d", task, len(texts), settings.inputs)
        form = self.scorer.chat_forms.find(opened)
        with (
            self._engine_with(opened, engine_settings if other_engine else None) as engine,
            self.progress(f"{expert.name} · continuations on {task}") as progress,
        ):
            return continue_inputs(
                engine,
                [
                    input_ids(engine, form.question(text) if form else text, settings.max_new_tokens)
                    for text in texts
                ],
                folder,
                expert=task,
                max_new_tokens=settings.max_new_tokens,
                end=form.end_token if form else None,
                top_k=find_engine(engine_settings.name).top_k(settings.top_k),
                progress=progress,
            )

    def learning_key(self, base: Path, experts: Mapping[str, Path], settings: ContinuationSettings) -> object:
        """A JSON value of what decides `continued_inputs` and the values of `learning_objective`."""
        return [
            {name: self._open(path).identity.digest for name, path in {"": base, **experts}.items()},
            {
                task: self.continuations(expert, task, settings).folder.name
                for task, expert in experts.items()
            },
            self.scorer.engine_key(),
        ]

    @property
    def device(self) -> str:
        """Where checkpoints are run."""
        return self.scorer.engine_settings.device

    def continued_inputs(
        self, experts: Mapping[str, Path], settings: ContinuationSettings
    ) -> Mapping[str, Sequence[tuple[TokenIds, TokenIds]]]:
        """The tokens of every task's inputs, and of its expert's answer to each; the engine is stopped."""
        found = {
            task: self.continuations(expert, task, settings).pairs for task, expert in sorted(experts.items())
        }
        self.scorer.close()
        return found

    def learning_objective(
        self,
        kind: ObjectiveKind,
        base: Path,
        experts: Mapping[str, Path],
        settings: ContinuationSettings,
        held_out: int,
    ) -> "Matching":
        """What a merge of experts on a base learns by, with a model of that base in the engine's place."""
        from bench.hf.objective import Matching

        continuations = {
            task: self.continuations(expert, task, settings) for task, expert in sorted(experts.items())
        }
        self.scorer.close()
        device = self.scorer.engine_settings.device
        return Matching(
            load_model(base).to(device),
            continuations,
            kind,
            pad=padding_of(load_tokenizer(base)),
            batch_tokens=_LEARNED_AT_ONCE.get(device, _MOST_LEARNED_AT_ONCE),
            held_out=held_out,
        )

    def scores(self, checkpoint: Path, task: str) -> list[float]:
        """A task's scores on validation data, higher is better, one for each of its benchmarks.

        They are the benchmarks' primary metrics on their validation split; where the suite names none, one
        number: the likelihood of a validation answer's token, exp(−loss over the answer).
        """
        split = self._suite.tasks[task].validation_split
        if split is None:
            return [math.exp(-self.loss(checkpoint, task, "completion"))]
        opened, scores = self._open(checkpoint), []
        for benchmark in self._suite.tasks[task].benchmarks:
            validation = benchmark.on_split(split)
            with self.progress(f"{checkpoint.name} · {validation.name}") as progress:
                record = self.scorer.score(opened, validation, progress).record
            scores.append(record.value if benchmark.higher_is_better else 1 - record.value)
        return scores

    def has_scores(self, checkpoint: Path, task: str) -> bool:
        """Whether a task's scores on validation data are kept, so that nothing is measured for them."""
        split, opened = self._suite.tasks[task].validation_split, self._open(checkpoint)
        if split is None:
            return self._file(self._loss_key(opened, task, "completion")).is_file()
        benchmarks = self._suite.tasks[task].benchmarks
        return all(self.scorer.find(opened, benchmark.on_split(split)) for benchmark in benchmarks)

    def normalised(self, checkpoint: Path, task: str) -> float:
        """A task's normalised performance on validation data: the mean of its scores over the expert's.

        Raises:
            InputError: one of the expert's scores is zero.
        """
        references = self.scores(self._references[task], task)
        if min(references) <= 0:
            raise InputError(
                f"The expert of '{task}' scores {min(references):.3f} on validation data, which nothing can "
                "be divided by: train it longer, or take a weighting or objective without scores."
            )
        scores = self.scores(checkpoint, task)
        return sum(score / of for score, of in zip(scores, references, strict=True)) / len(scores)

    def free(self) -> None:
        """Stop the engine, which the next measurement starts again, where it holds a GPU."""
        if self.scorer.engine_settings.device != "cpu":
            self.scorer.close()

    def key(self, needs: SignalNeeds) -> object:
        """All that decides the losses or scores that are needed besides the checkpoint."""
        references = self._references if needs.scores else {}
        return [
            [LOSS_VERSION, CONTINUATIONS_VERSION, DIVERGENCE_VERSION],
            {task: examples_digest(self.data.examples(task)) for task in self.data.tasks_with_losses(needs)},
            [self.training.max_length, self.training.end_token],
            self.scorer.settings_key(),
            {
                task: {benchmark.name: self.scorer.digests(benchmark) for benchmark in benchmarks}
                for task, benchmarks in self.data.benchmarks_needed(needs).items()
            },
            {task: self._open(expert).identity.digest for task, expert in references.items()},
        ]

    def check(self, needs: SignalNeeds) -> None:
        """Look for the validation data of everything that is needed.

        Raises:
            InputError: a task has none.
        """
        for task in self.data.tasks_with_losses(needs):
            self.data.examples(task)
        for benchmarks in self.data.benchmarks_needed(needs).values():
            for benchmark in benchmarks:
                self.scorer.digests(benchmark)

    @contextmanager
    def _engine_with(self, checkpoint: ScoredCheckpoint, other: EngineSettings | None) -> Iterator[Engine]:
        """The scorer's engine with a checkpoint in it, or another in its place."""
        if other is None:
            yield self.scorer.engine_with(checkpoint)
            return
        self.scorer.close()
        engine = open_engine(checkpoint.path, other)
        try:
            yield engine
        finally:
            engine.close()

    def _open(self, checkpoint: Path) -> ScoredCheckpoint:
        """A checkpoint, digested again only where its files have changed."""
        stamp = tuple(
            (path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in sorted(checkpoint.iterdir())
        )
        opened = self._opened.get(checkpoint)
        if opened is None or opened[0] != stamp:
            opened = self._opened[checkpoint] = stamp, ScoredCheckpoint.open(str(checkpoint))
        return opened[1]

    def _file(self, key: object) -> Path:
        return self.scorer.store.root / "signals" / f"{cache_key(key)}.json"


def _kept(file: Path, name: str) -> float | None:
    """A number that was measured and kept; None where there is no file.

    Raises:
        InputError: the file is damaged.
    """
    try:
        return float(json.loads(file.read_bytes())[name])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} is damaged; remove it, and it is measured again") from error


def _keep(file: Path, content: Mapping[str, object]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    write_once(file, f"{json.dumps(content, indent=1)}\n".encode())
