"""How much text an experiment reads, and the work that reads it: counted where rows lie here, else guessed.

Nothing is fetched and no tokenizer is asked, so that it can be said before either is there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from bench.benchmark import Benchmark, EvalTask
from bench.data import load_rows
from bench.examples import ExampleSource, at_hand, load_shares
from bench.hub import NoDataError
from bench.prompts import DEFAULT_NEW_TOKENS, documents_of, prompts_of

Phase = Literal["train", "signals", "learn", "choose", "merge", "score"]
PHASES: tuple[Phase, ...] = get_args(Phase)
_BACKWARD = ("train", "learn")


@dataclass(frozen=True)
class Amount:
    """How much text something is.

    Attributes:
        texts: how many; None where nobody knows without the rows.
        tokens_each: of a text, on average.
        counted: whether the rows are local, so that the texts were counted.
    """

    texts: int | None
    tokens_each: float
    counted: bool

    @property
    def tokens(self) -> float | None:
        """Number of tokens in all texts."""
        return None if self.texts is None else self.texts * self.tokens_each

    def at_most(self, texts: int | None) -> "Amount":
        """The same of so many texts at most."""
        limits = [number for number in (self.texts, texts) if number is not None]
        return replace(self, texts=min(limits, default=None))

    def read(self, times: float) -> "Amount":
        """The same, each text read so often."""
        return replace(self, texts=None if self.texts is None else round(self.texts * times))


@dataclass
class Step:
    """Some work of one kind.

    Attributes:
        phase: what is done.
        what: of it, or to what.
        times: how many trainings, measurements, learnings, merges or records.
        texts: how many texts are read, each as often as it is, of those that are known.
        tokens: in them.
        more: whether there are texts of which nobody knows how many.
    """

    phase: Phase
    what: str
    times: int = 0
    texts: int = 0
    tokens: float = 0
    more: bool = False

    def add(self, *read: Amount) -> None:
        """Count one more, which reads these texts."""
        self.times += 1
        for amount in read:
            self.more |= amount.texts is None
            self.texts += amount.texts or 0
            self.tokens += amount.tokens or 0

    @property
    def reads(self) -> bool:
        """Whether it reads texts, as merging does not."""
        return self.more or self.texts > 0

    def hours(self, training: float, scoring: float) -> float:
        """Hours at tokens a second, forward and backward or forward alone."""
        return self.tokens / (training if self.phase in _BACKWARD else scoring) / 3600


@dataclass(frozen=True)
class TaskTexts:
    """Texts of a task; None where experts are given, or the suite names no validation texts."""

    training: Amount | None
    validation: Amount | None


@dataclass(frozen=True)
class ExperimentPlan:
    """The plan of an experiment.

    Attributes:
        tasks: their texts.
        benchmarks: what they ask.
        steps: all work, by phase.
    """

    tasks: Mapping[str, TaskTexts]
    benchmarks: Mapping[str, Amount]
    steps: tuple[Step, ...]

    def times(self, phase: Phase, what: str | None = None) -> int:
        """How many trainings, measurements, learnings, merges or records there are."""
        return sum(step.times for step in self.steps if step.phase == phase and what in (None, step.what))


_CHARACTERS = 4
_QUESTION = 128
_SAMPLED = 8
ESTIMATE = (
    f"Tokens are estimates: a quarter of the characters of local rows (of {_SAMPLED} of a task's questions); "
    f"else what a text is cut at, or {_QUESTION} a question and example. Answers are as long as they may be."
)


def training_texts(sources: Sequence[ExampleSource], root: Path | None, most: int | None, cut: int) -> Amount:
    """Examples of some sources.

    Args:
        sources: where they come from.
        root: local data root, or None.
        most: most examples that are taken.
        cut: tokens after which each is cut.
    """
    if all(at_hand(source, root) for source in sources):
        pairs = load_shares(sources, root, most)
        tokens = sum(min(cut, _tokens(prompt + completion)) for prompt, completion in pairs)
        return Amount(len(pairs), tokens / len(pairs), counted=True)
    sizes = [source.size for source in sources]
    all_sizes = None if None in sizes else sum(size for size in sizes if size is not None)
    return Amount(all_sizes, cut, counted=False).at_most(most)


def documents(benchmark: Benchmark, root: Path | None, limit: int | None, seed: int) -> Amount:
    """What a benchmark asks, with what is answered.

    Args:
        benchmark: the definition.
        root: local data root, or None.
        limit: most documents of each of its tasks.
        seed: of the few-shot sampler.
    """
    return together([_questions(task, root, limit, seed) for task in benchmark.tasks])


def together(amounts: Sequence[Amount]) -> Amount:
    """Several amounts as one; of a number that is not known nobody knows the sum."""
    known = [amount.texts for amount in amounts if amount.texts is not None]
    weights = [amount.texts or 1 for amount in amounts]
    tokens = sum(w * amount.tokens_each for w, amount in zip(weights, amounts, strict=True)) / sum(weights)
    texts = sum(known) if len(known) == len(amounts) else None
    return Amount(texts, tokens, counted=all(amount.counted for amount in amounts))


def _questions(task: EvalTask, root: Path | None, limit: int | None, seed: int) -> Amount:
    answer = 0
    if task.config.get("output_type") == "generate_until":
        settings = task.config.get("generation_kwargs") or {}
        answer = settings.get("max_gen_toks", DEFAULT_NEW_TOKENS)
    try:
        if task.generate is None and root is None:
            raise NoDataError("the rows are on the hub")
        rows = load_rows(task, root)
    except NoDataError:
        shots = task.config.get("num_fewshot") or 0
        return Amount(task.size, _QUESTION * (1 + shots) + answer, counted=False).at_most(limit)
    sampled = prompts_of(task, rows, seed, _SAMPLED)
    texts = ["".join([prompt.prompt, *prompt.choices]) for prompt in sampled]
    question = sum(map(_tokens, texts)) / len(texts)
    return Amount(len(documents_of(task, rows)), question + answer, counted=True).at_most(limit)


def _tokens(text: str) -> float:
    return len(text) / _CHARACTERS
