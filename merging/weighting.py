"""How much each task counts in a merge: equally, or by what a signal says of the tasks."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from merging.signals import Divergence, Needs, Signals
from merging.train_settings import Loss
from results.errors import InputError
from results.merge_trace import SignalTrace
from results.validation import Settings, Several

Kind = Literal["uniform", "loss_gap", "divergence", "np_gap", "worst_task"]
Temperature = Annotated[float, Field(gt=0)]
SIGNALS: dict[Kind, str] = {
    "uniform": "1/T for each task",
    "loss_gap": "softmax of L(start) − L(expert) over the temperature, of validation examples (METIS)",
    "divergence": "softmax of D(expert‖start), JS or KL, on the expert's continuations of validation inputs",
    "np_gap": "softmax of 1 − NP, the normalised performance on validation data",
    "worst_task": "softmax of −NP; at a low temperature the worst task gets all",
}


@dataclass(frozen=True)
class Measured:
    """What a weighting saw, and the weights that came of it, all by task.

    Attributes:
        weights: α, which add up to 1.
        losses: of the model that the experts are trained from, and of each expert; where they were measured.
        normalised: performance of that model on validation data; where it was measured.
        divergences: D(expert‖that model); where they were measured.
    """

    weights: Mapping[str, float]
    losses: Mapping[str, tuple[float, float]]
    normalised: Mapping[str, float]
    divergences: Mapping[str, float] = field(default_factory=dict)

    @property
    def gaps(self) -> dict[str, float]:
        """The loss gaps, L(start) − L(expert)."""
        return {task: start - expert for task, (start, expert) in self.losses.items()}

    @property
    def signal(self) -> SignalTrace | None:
        """What the weights came from."""
        for label, values, reference, reference_label in (
            ("loss gap", self.gaps, 0.0, "no gap"),
            ("divergence", self.divergences, 0.0, "no divergence"),
            ("NP before the round", self.normalised, 1.0, "the expert's NP"),
        ):
            if values:
                return SignalTrace(
                    label=label, values=dict(values), reference=reference, reference_label=reference_label
                )
        return None


def recipe_weights(shares: Mapping[str, float]) -> dict[str, float]:
    """Return shares as the weights of a recipe, 1 on average.

    Equal shares then change nothing about a method that does not divide by the sum of the weights.
    """
    return {task: share * len(shares) for task, share in shares.items()}


class Weighting(Settings):
    """Weights of tasks from a signal of validation data, by a softmax; a name alone has all defaults."""

    name: Kind
    """`uniform`: 1/T each; `loss_gap`: softmax of L(start) − L(expert) over the temperature, as METIS has it;
    `divergence`: of D(expert‖start), how much of what an expert says is missing; `np_gap`: of 1 − NP;
    `worst_task`: of −NP, the same weights by another name, meant for low temperatures, where the worst task
    gets all."""
    temperature: Temperature | Annotated[Several[Temperature], Field(min_length=1)] = 2.0
    """λ, one number or one for each round; METIS's released code has 2."""
    over: Loss = "text"
    """What a loss is taken over: the whole `text`, as METIS has it, or the `completion`."""
    divergence: Divergence = "js"
    """Which divergence, `js` or `kl`."""

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: object) -> object:
        return {"name": value} if isinstance(value, str) else value

    @property
    def needs(self) -> Needs:
        """What it asks of the signals."""
        return Needs(
            losses=self.name in {"loss_gap", "divergence"}, scores=self.name in {"np_gap", "worst_task"}
        )

    def measure(self, signals: Signals, start: Path, experts: Mapping[str, Path], turn: int = 1) -> Measured:
        """Measure what the weighting needs, and weigh.

        Args:
            signals: of checkpoints on validation data.
            start: the model that the experts were trained from.
            experts: by task.
            turn: the round, from 1.

        Raises:
            InputError: a loss or score is not finite.
        """
        losses, normalised, divergences = {}, {}, {}
        if self.name == "loss_gap":
            losses = {
                task: (signals.loss(start, task, self.over), signals.loss(expert, task, self.over))
                for task, expert in experts.items()
            }
            values = {task: before - after for task, (before, after) in losses.items()}
        elif self.name == "divergence":
            divergences = {
                task: signals.divergence(self.divergence, expert, start, task)
                for task, expert in experts.items()
            }
            values = dict(divergences)
        elif self.name == "uniform":
            values = dict.fromkeys(experts, 0.0)
        else:
            normalised = {task: signals.normalised(start, task) for task in experts}
            values = {task: (self.name == "np_gap") - value for task, value in normalised.items()}
        for task, value in values.items():
            if not math.isfinite(value):
                raise InputError(f"The signal of the task '{task}' is {value}; its model gives no numbers.")
        return Measured(softmax(values, self.at(turn)), losses, normalised, divergences)

    def at(self, turn: int) -> float:
        """Return the temperature of a round, from 1."""
        if isinstance(self.temperature, float):
            return self.temperature
        return self.temperature[turn - 1]

    def check(self, rounds: int) -> None:
        """Refuse temperatures that are not one for each round.

        Raises:
            InputError: there are more or fewer.
        """
        if not isinstance(self.temperature, float) and len(self.temperature) != rounds:
            raise InputError(
                f"The weighting '{self.name}' has {len(self.temperature)} temperatures, one for each round, "
                f"and there {how_many(rounds)}; give one for each, or one number."
            )


def how_many(rounds: int) -> str:
    """Return a number of rounds as the end of "there …"."""
    return "is 1 round" if rounds == 1 else f"are {rounds} rounds"


def softmax(values: Mapping[str, float], temperature: float) -> dict[str, float]:
    """Return exp(v/λ) over their sum, with the largest subtracted first."""
    largest = max(values.values())
    powers = {task: math.exp((value - largest) / temperature) for task, value in values.items()}
    total = math.fsum(powers.values())
    return {task: power / total for task, power in powers.items()}
