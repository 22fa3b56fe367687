"""Signals for merging from the harness: losses, divergences and scores of checkpoints on validation data."""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Literal

from bench.benchmark import Benchmark
from bench.divergence import DIVERGENCE_VERSION, Divergence
from bench.engine import HF, VLLM, Engine, EngineSettings, Progress, open_engine
from bench.examples import load_examples, load_shares
from bench.losses import LOSS_VERSION, mean_loss
from bench.registry import Suite
from bench.scoring import Scorer
from bench.targets import CONTINUATIONS_VERSION, Targets, make_targets, mean_divergences
from bench.vllm_questions import MOST_LOGPROBS
from manyshot.scoring import Candidate
from manyshot.terminal import ScoringProgress, logger
from merging.coefficients import Followed
from merging.learned import LearnedMethod
from merging.learning import LEARNING_VERSION, Learned, learn, learned_before
from merging.optimise import IGNORED
from merging.prepare import task_vectors
from merging.pretrained import load_model, load_tokenizer, padding_of
from merging.train_settings import Loss, TrainSettings
from merging.training import Example, encode, examples_digest
from merging.weighting import Needs
from results.errors import InputError
from results.files import write_atomically

_LEARNED_AT_ONCE = {"cpu": 2048}
_MOST_LEARNED_AT_ONCE = 16384
"""Tokens in a forward and backward pass, padding included."""
WEIGHED_TOP_K = 64
"""Likeliest tokens by which tasks are weighed: a bound from below that keeps what is stored small."""


@dataclass(frozen=True)
class Asked:
    """What experts are asked to go on from, and how far.

    Attributes:
        inputs: most inputs of a task; None takes all.
        max_new_tokens: most tokens of a continuation.
        top_k: likeliest tokens that are kept; None keeps all.
        source: whether they are validation's or the test rows' inputs, without what is right.
        exact: whether all tokens' probabilities are needed, which not every engine gives.
    """

    inputs: int | None = None
    max_new_tokens: int = 32
    top_k: int | None = None
    source: Literal["validation", "test"] = "validation"
    exact: bool = False


class Harness:
    """Measures checkpoints on validation data, each once: what was measured is kept in the store, by digest.

    Args:
        scorer: has the engine, the settings and the store.
        suite: whose tasks are meant.
        data_root: local data root, or None for the hub.
        max_length: tokens after which an example is cut.
        end_token: whether the end-of-sequence token is added to an example, as in training.
        limit: most validation examples of a task; None takes all.
    """

    def __init__(
        self,
        scorer: Scorer,
        suite: Suite,
        data_root: Path | None,
        *,
        max_length: int = TrainSettings().max_length,
        end_token: bool = TrainSettings().end_token,
        limit: int | None = None,
    ) -> None:
        self.scorer, self._suite, self._root = scorer, suite, data_root
        self._cut = TrainSettings(max_length=max_length, end_token=end_token)
        self._limit = limit
        self._examples: dict[str, list[Example]] = {}
        self._texts: dict[tuple[str, str, int | None], list[str]] = {}
        self._candidates: dict[Path, tuple[object, Candidate]] = {}
        self.experts: Mapping[str, Path] = {}
        """The standalone expert of each task, by which validation scores are divided."""

    def examples(self, task: str) -> list[Example]:
        """A task's validation examples.

        Raises:
            InputError: the suite names none.
        """
        if task not in self._examples:
            sources = self._suite.tasks[task].validation
            if not sources:
                raise InputError(
                    f"The suite {self._suite.name} names no validation data for the task '{task}', by which "
                    "tasks are weighed, settings and rounds chosen and coefficients learned: name "
                    "`validation` examples there, or leave out what needs them."
                )
            pairs = load_shares(sources, self._root, self._limit)
            self._examples[task] = [Example(*pair) for pair in pairs]
        return self._examples[task]

    @property
    def validation(self) -> dict[str, int]:
        """How many validation examples were read of each task that any were read of."""
        return {task: len(examples) for task, examples in self._examples.items()}

    def loss(self, checkpoint: Path, task: str, over: Loss) -> float:
        """The mean over validation examples of each one's mean token loss, of all its text or the answer."""
        candidate = self._candidate(checkpoint)
        examples = self.examples(task)
        key = {
            "kind": f"loss over {over}",
            "version": LOSS_VERSION,
            "checkpoint": candidate.identity.digest,
            "examples": examples_digest(examples),
            "max_length": self._cut.max_length,
            "end_token": self._cut.end_token,
            "engine": self.scorer.engine_key(),
        }
        file = self.scorer.store.root / "signals" / f"{_digest(key)}.json"
        if file.is_file():
            return float(json.loads(file.read_bytes())["value"])
        running = self.scorer.engine_with(candidate.path, candidate.identity)
        settings = self._cut.but(loss=over)
        encoder = running.is_encoder_decoder
        rows = [encode(running.tokenizer, one, settings, encoder=encoder) for one in examples]
        pairs = [(row["input_ids"], row["labels"]) for row in rows] if encoder else _pairs(rows)
        with self._shown(f"{checkpoint.name} · loss on {task}") as progress:
            value = mean_loss(running, pairs, progress)
        if not math.isfinite(value):
            raise InputError(f"The loss of {checkpoint} on the task '{task}' is {value}.")
        self._keep(file, {**key, "task": task, "name": str(checkpoint), "value": value})
        return value

    def targets(self, expert: Path, task: str, asked: Asked) -> Targets:
        """What an expert says after a task's inputs, made once and kept in the store."""
        candidate, texts = self._candidate(expert), self._inputs(task, asked)
        engine = self.scorer.engine_settings
        key = {
            "kind": "targets",
            "checkpoint": candidate.identity.digest,
            "inputs": hashlib.sha256(json.dumps(texts).encode()).hexdigest(),
            "asked": [asked.max_new_tokens, asked.top_k],
            "engine": [HF if asked.exact else engine.name, *self.scorer.engine_key()[1:]],
            "version": CONTINUATIONS_VERSION,
        }
        folder = self.scorer.store.root / "signals" / f"targets-{_digest(key)[:32]}"
        if folder.is_dir():
            return Targets.open(folder)
        if asked.inputs is not None and len(texts) < asked.inputs:
            logger.info("%s has %d inputs, not %d", task, len(texts), asked.inputs)
        top_k = asked.top_k
        if engine.name == VLLM and not asked.exact:
            top_k = min(top_k or MOST_LOGPROBS, MOST_LOGPROBS)
        with (
            self._running(candidate, exact=asked.exact) as running,
            self._shown(f"{expert.name} · what it says on {task}") as progress,
        ):
            return make_targets(
                running,
                [_input_ids(running, text, asked.max_new_tokens) for text in texts],
                folder,
                expert=task,
                max_new_tokens=asked.max_new_tokens,
                top_k=top_k,
                progress=progress,
            )

    @contextmanager
    def _running(self, candidate: Candidate, *, exact: bool) -> Iterator[Engine]:
        """The engine with a checkpoint in it; where all tokens are asked for, one that gives them."""
        if not exact or self.scorer.engine_settings.name != VLLM:
            yield self.scorer.engine_with(candidate.path, candidate.identity)
            return
        self.scorer.close()
        settings = self.scorer.engine_settings
        running = open_engine(
            candidate.path, EngineSettings(name=HF, dtype=settings.dtype, device=settings.device)
        )
        try:
            yield running
        finally:
            running.close()

    def divergence(
        self, kind: Divergence, expert: Path, checkpoint: Path, task: str, asked: Asked | None = None
    ) -> float:
        """D(expert‖checkpoint): mean over the task's inputs of the mean over what the expert says."""
        targets = self.targets(expert, task, asked or Asked(self._limit, top_k=WEIGHED_TOP_K))
        candidate = self._candidate(checkpoint)
        key = {
            "kind": "divergences",
            "checkpoint": candidate.identity.digest,
            "targets": targets.folder.name,
            "engine": self.scorer.engine_key(),
            "version": DIVERGENCE_VERSION,
        }
        file = self.scorer.store.root / "signals" / f"{_digest(key)}.json"
        if file.is_file():
            return float(json.loads(file.read_bytes())[kind])
        running = self.scorer.engine_with(candidate.path, candidate.identity)
        most = MOST_LOGPROBS if self.scorer.engine_settings.name == VLLM else None
        with self._shown(f"{checkpoint.name} · divergence on {task}") as progress:
            found = mean_divergences(running, targets, top_k=most, progress=progress)
        self._keep(
            file, {**key, "task": task, "name": str(checkpoint)} | {str(one): found[one] for one in found}
        )
        return found[kind]

    def learn(
        self, method: LearnedMethod, base: Path, experts: Mapping[str, Path], seed: int, note: Path
    ) -> Learned:
        """Learn the coefficients of experts on a base, going on from what is in a file."""
        from bench.hf.objective import Matching

        asked = Asked(
            method.inputs_per_task + method.held_out,
            method.max_new_tokens,
            method.top_k,
            method.source,
            exact=method.top_k is None,
        )
        targets = {task: self.targets(expert, task, asked) for task, expert in sorted(experts.items())}
        key = [
            [method.objective, method.held_out],
            {name: self._candidate(path).identity.digest for name, path in {"": base, **experts}.items()},
            {task: one.folder.name for task, one in targets.items()},
            [LEARNING_VERSION, self.scorer.engine_key()],
        ]
        settings = method.learning(seed)
        known = learned_before(settings, note, key)
        if known is not None:
            return known
        self.scorer.close()  # the model that follows the coefficients takes the engine's place
        device = self.scorer.engine_settings.device
        model = load_model(base).to(device)
        vectors = task_vectors(str(base), {task: str(path) for task, path in experts.items()}, device)
        objective = Matching(
            model,
            targets,
            method.objective,
            pad=padding_of(load_tokenizer(base)),
            batch_tokens=_LEARNED_AT_ONCE.get(device, _MOST_LEARNED_AT_ONCE),
            held_out=method.held_out,
        )
        followed = Followed(model, vectors, method.level)
        with self._shown(f"{note.parent.name} · learning coefficients") as progress:
            return learn(followed, objective, settings, note=note, key=key, progress=progress)

    def _inputs(self, task: str, asked: Asked) -> list[str]:
        """Texts of a task's inputs, of each source or benchmark in turn: validation's, or what is scored.

        Of a validation source come as many as the limit lets through, each text once.
        """
        asked_for = task, asked.source, asked.inputs
        if asked_for not in self._texts:
            self._texts[asked_for] = self._read_inputs(task, asked)
        return self._texts[asked_for]

    def _read_inputs(self, task: str, asked: Asked) -> list[str]:
        of = self._suite.tasks[task]
        if asked.source == "validation":
            self.examples(task)  # which says what is missing
            each = [[prompt for prompt, _ in load_examples([one], self._root)] for one in of.validation]
        else:
            each = [self.scorer.prompts(one, asked.inputs) for one in of.benchmarks]
        turns = zip_longest(*(dict.fromkeys(texts) for texts in each))
        texts = list(dict.fromkeys(text for turn in turns for text in turn if text is not None))
        limits = [limit for limit in (asked.inputs, self._limit) if limit is not None]
        return texts[: min(limits)] if limits else texts

    def scores(self, checkpoint: Path, task: str) -> list[float]:
        """A task's scores on validation data, higher is better, one for each of its benchmarks.

        They are the benchmarks' primary metrics on their validation split; where the suite names none, one
        number: the likelihood of a validation answer's token, exp(−loss over the answer).
        """
        split = self._suite.tasks[task].validation_split
        if split is None:
            return [math.exp(-self.loss(checkpoint, task, "completion"))]
        candidate = self._candidate(checkpoint)
        benchmarks = [one.on_split(split) for one in self._suite.tasks[task].benchmarks]
        return [self._value(candidate, benchmark) for benchmark in benchmarks]

    def normalised(self, checkpoint: Path, task: str) -> float:
        """A task's normalised performance on validation data: the mean of its scores over the expert's.

        Raises:
            InputError: one of the expert's scores is zero.
        """
        references = self.scores(self.experts[task], task)
        if min(references) <= 0:
            raise InputError(
                f"The expert of '{task}' scores {min(references):.3f} on validation data, which nothing can "
                "be divided by: train it longer, or take a weighting or objective without scores."
            )
        own = self.scores(checkpoint, task)
        return sum(one / other for one, other in zip(own, references, strict=True)) / len(own)

    def benchmarks(self, task: str) -> int:
        """How many benchmarks measure a task."""
        return len(self._suite.tasks[task].benchmarks)

    def free(self) -> None:
        """Stop the engine, which the next measurement starts again, where it holds a GPU."""
        if self.scorer.engine_settings.device != "cpu":
            self.scorer.close()

    def key(self, needs: Needs) -> object:
        """All that decides the losses or scores that are needed besides the checkpoint."""
        by_loss = [task for task in self._suite.tasks if self._asks_for_losses(task, needs)]
        return [
            [LOSS_VERSION, CONTINUATIONS_VERSION, DIVERGENCE_VERSION],
            {task: examples_digest(self.examples(task)) for task in by_loss},
            [self._cut.max_length, self._cut.end_token],
            self.scorer.settings_key(),
            {
                task: {one.name: self.scorer.digests(one) for one in benchmarks}
                for task, benchmarks in self._asked_benchmarks(needs).items()
            },
            {task: self._candidate(path).identity.digest for task, path in self.experts.items()}
            if needs.scores
            else None,
        ]

    def check(self, needs: Needs) -> None:
        """Look for the validation data of everything that is needed.

        Raises:
            InputError: a task has none.
        """
        for task in self._suite.tasks:
            if self._asks_for_losses(task, needs):
                self.examples(task)
        for benchmarks in self._asked_benchmarks(needs).values():
            for benchmark in benchmarks:
                self.scorer.digests(benchmark)

    def _asks_for_losses(self, task: str, needs: Needs) -> bool:
        return needs.losses or (needs.scores and self._suite.tasks[task].validation_split is None)

    def _asked_benchmarks(self, needs: Needs) -> dict[str, list[Benchmark]]:
        """What is scored on validation splits, or whose questions are asked, by task."""
        found: dict[str, list[Benchmark]] = {}
        for task, of in self._suite.tasks.items():
            found[task] = list(of.benchmarks) if needs.questions else []
            if needs.scores and of.validation_split is not None:
                found[task] += [one.on_split(of.validation_split) for one in of.benchmarks]
        return found

    def _value(self, candidate: Candidate, benchmark: Benchmark) -> float:
        with self._shown(f"{candidate.path.name} · {benchmark.name}") as self.scorer.progress:
            record = self.scorer.score(candidate.path, candidate.name, candidate.identity, benchmark).record
        return record.value if benchmark.higher_is_better else 1 - record.value

    def _keep(self, file: Path, content: Mapping[str, object]) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, f"{json.dumps(content, indent=1)}\n".encode())

    @contextmanager
    def _shown(self, description: str) -> Iterator[Progress]:
        """Show how far a measurement is."""
        progress = ScoringProgress(1)
        with progress.shown():
            progress.start(description)
            yield progress.requests
            progress.finish()

    def _candidate(self, checkpoint: Path) -> Candidate:
        """A checkpoint, digested again only where its files have changed."""
        stamp = tuple(
            (path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in sorted(checkpoint.iterdir())
        )
        known = self._candidates.get(checkpoint)
        if known is None or known[0] != stamp:
            known = self._candidates[checkpoint] = stamp, Candidate.open(str(checkpoint))
        return known[1]


def _pairs(rows: Sequence[Mapping[str, list[int]]]) -> list[tuple[list[int], list[int]]]:
    """Of each encoded example what is read and what counts; the first token is never predicted."""
    pairs = []
    for row in rows:
        ids, labels = row["input_ids"], row["labels"]
        start = max(1, next((i for i, label in enumerate(labels) if label != IGNORED), len(ids)))
        if start < len(ids):
            pairs.append((ids[:start], ids[start:]))
    return pairs


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _input_ids(engine: Engine, text: str, room: int) -> list[int]:
    """Tokens of an input with as much room behind them, as they are before a completion in training."""
    ids = engine.tokenizer(text)["input_ids"]
    if engine.is_encoder_decoder:
        return ids[: engine.max_length]
    if ids and ids[-1] == engine.tokenizer.eos_token_id:
        ids = ids[:-1]
    return ids[-(engine.max_length - room) :] or [engine.tokenizer.bos_token_id or 0]
