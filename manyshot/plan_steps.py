"""What a plan of an experiment holds: the texts of its tasks and benchmarks, and all work by kind."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

Phase = Literal["train", "signals", "learn", "choose", "merge", "score"]
PHASES: tuple[Phase, ...] = get_args(Phase)
_BACKWARD = ("train", "learn")


@dataclass(frozen=True)
class Amount:
    """How much text something is.

    Attributes:
        texts: how many; None where nobody knows without the rows.
        tokens_each: of a text, on average.
        counted: whether the rows are at hand, so that the texts were counted.
    """

    texts: int | None
    tokens_each: float
    counted: bool

    @property
    def tokens(self) -> float | None:
        """Of all texts."""
        return None if self.texts is None else self.texts * self.tokens_each

    def at_most(self, texts: int | None) -> "Amount":
        """The same of so many texts at most."""
        known = [number for number in (self.texts, texts) if number is not None]
        return replace(self, texts=min(known, default=None))

    def read(self, times: float) -> "Amount":
        """The same, each text read so often."""
        return replace(self, texts=None if self.texts is None else round(self.texts * times))


@dataclass
class Step:
    """Some work of one kind.

    Attributes:
        phase: what is done.
        what: of it, or to what.
        data: tasks and benchmarks whose texts are read.
        times: how many trainings, measurements, learnings, merges or records.
        texts: how many texts are read, each as often as it is, of those that are known.
        tokens: in them.
        more: whether there are texts of which nobody knows how many.
    """

    phase: Phase
    what: str
    data: dict[str, None] = field(default_factory=dict)
    times: int = 0
    texts: int = 0
    tokens: float = 0
    more: bool = False

    def add(self, read: Mapping[str, Amount]) -> None:
        """Count one more, which reads so much of each task or benchmark."""
        self.times += 1
        for name, amount in read.items():
            self.data[name] = None
            self.more |= amount.texts is None
            self.texts += amount.texts or 0
            self.tokens += amount.tokens or 0

    def hours(self, training: float, scoring: float) -> float | None:
        """Hours at tokens a second, forward and backward or forward alone; None where nothing is read."""
        if not self.data:
            return None
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
