"""What merging asks of the measurements of checkpoints; `bench.signals` makes them."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import Field

from merging.train_settings import Loss
from results.validation import Settings

Divergence = Literal["kl", "js"]
ObjectiveKind = Literal["kl", "js", "entropy"]
"""What coefficients are learned by: D(expert‖model), or the model's own entropy."""
Input = tuple[str, int]
"""A task, and the number of one of its inputs."""


class ContinuationSettings(Settings):
    """Which inputs an expert continues, and how far."""

    inputs: int | None = Field(None, gt=0)
    """Most inputs of a task; else all."""
    max_new_tokens: int = Field(32, gt=0)
    """Most tokens of a continuation."""
    top_k: int | None = Field(None, gt=0)
    """Keep the likeliest tokens only, which gives lower bounds of divergences; else all."""
    source: Literal["validation", "test"] = "validation"
    """Whether the inputs are those of validation or of the test rows, without their answers."""
    exact: bool = False
    """Whether all tokens' probabilities are needed, which not every engine gives."""


@dataclass(frozen=True)
class SignalNeeds:
    """Which signals a weighting, a choice of settings or a method uses.

    Attributes:
        losses: losses, divergences or anything else of validation examples.
        scores: on validation data.
        questions: those of the rows that are scored, without their answers.
    """

    losses: bool = False
    scores: bool = False
    questions: bool = False

    def __or__(self, other: "SignalNeeds") -> "SignalNeeds":
        return SignalNeeds(
            self.losses or other.losses, self.scores or other.scores, self.questions or other.questions
        )

    def __bool__(self) -> bool:
        return self.losses or self.scores or self.questions


class LearningObjective(Protocol):
    """What learning makes small: a number of each input, under the present weights of a model.

    Attributes:
        model: of transformers, in float32, whose weights learning changes.
    """

    model: Any

    def inputs(self) -> Mapping[str, int]:
        """Return how many inputs each task has."""

    def held_out(self) -> Mapping[str, int]:
        """Return how many of them, the last ones, nothing is learned from."""

    def values(self, inputs: Sequence[Input], weights: Sequence[float] | None = None) -> list[float]:
        """Return each input's number under the model's present weights.

        With weights the gradients of their weighted sum are added to the parameters' own.
        """


class Measurements(Protocol):
    """Measurements of checkpoints on the tasks' validation data."""

    def loss(self, checkpoint: Path, task: str, over: Loss) -> float:
        """Return the mean over a task's validation examples of each one's mean token loss."""

    def divergence(self, kind: Divergence, expert: Path, checkpoint: Path, task: str) -> float:
        """Return D(expert‖checkpoint) over the expert's continuations of a task's validation inputs."""

    def normalised(self, checkpoint: Path, task: str) -> float:
        """Return the validation score over that of the task's standalone expert."""


class Signals(Measurements, Protocol):
    """The measurements, and all else that merging asks for."""

    def benchmarks(self, task: str) -> int:
        """Return how many benchmarks measure a task."""

    def key(self, needs: SignalNeeds) -> object:
        """Return a JSON value of all that decides the numbers that are needed besides the checkpoint."""

    def free(self) -> None:
        """Give the device to a training: stop what runs checkpoints."""

    def progress(self, description: str) -> AbstractContextManager[Callable[[int, int], None]]:
        """Show how far something is; it is called with the numbers of steps done and in all."""

    def learning_key(self, base: Path, experts: Mapping[str, Path], settings: ContinuationSettings) -> object:
        """Return a JSON value of what decides `continued_inputs` and the values of `learning_objective`."""

    @property
    def device(self) -> str:
        """Where checkpoints are run."""

    def continued_inputs(
        self, experts: Mapping[str, Path], settings: ContinuationSettings
    ) -> Mapping[str, Sequence[tuple[Sequence[int], Sequence[int]]]]:
        """Return the tokens of every task's inputs, and of its expert's answer to each; nothing runs then."""

    def learning_objective(
        self,
        kind: ObjectiveKind,
        base: Path,
        experts: Mapping[str, Path],
        settings: ContinuationSettings,
        held_out: int,
    ) -> LearningObjective:
        """Return what a merge of experts on a base learns by, with a model of that base.

        Args:
            kind: D(expert‖model), or the model's entropy, over the experts' continuations.
            base: the model that the task vectors are added to.
            experts: by task.
            settings: of the continuations.
            held_out: how many inputs of each task, the last ones, nothing is learned from.
        """
