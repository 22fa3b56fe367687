"""How much each task counts in a merge: equally, or by what a signal says of the tasks.

A signal is a function of one task with the decorator `signal`. Its name then works in experiments, in plans
of their work and in figures of weights over rounds.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import Field, field_validator, model_validator

from merging.signals import Divergence, Measurements, SignalNeeds
from merging.train_settings import Loss
from results.errors import InputError
from results.merge_trace import MergeTrace, SignalTrace
from results.validation import Settings, Several
from results.words import counted

Temperature = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class TaskSignal(NamedTuple):
    """What a signal says of one task.

    Attributes:
        value: what was measured, as figures show it.
        urgency: what the softmax is taken of: the more, the more weight.
        losses: of the model before the round and of the expert, where they were measured.
    """

    value: float
    urgency: float
    losses: tuple[float, float] | None = None


Measure = Callable[["Weighting", Measurements, Path, Path, str], TaskSignal]
"""Of the weighting's settings, the signals, the model before the round, the task's expert and the task."""


@dataclass(frozen=True)
class WeightingSignal:
    """A signal by which tasks can be weighed.

    Attributes:
        description: one line for lists.
        needs: what has to be measurable.
        label: of an axis; empty for a signal that has nothing to show.
        reference: the value of a task that lacks nothing.
        reference_label: what that value is called.
        measure: the function.
    """

    description: str
    needs: SignalNeeds
    label: str
    reference: float
    reference_label: str
    measure: Measure


_NO_NEEDS = SignalNeeds()
SIGNALS: dict[str, WeightingSignal] = {}
"""All signals by name."""


def signal(
    name: str,
    description: str,
    *,
    needs: SignalNeeds = _NO_NEEDS,
    label: str = "",
    reference: float = 0.0,
    reference_label: str = "",
) -> Callable[[Measure], Measure]:
    """Register a function as a signal; see `WeightingSignal` for the arguments."""

    def register(measure: Measure) -> Measure:
        SIGNALS[name] = WeightingSignal(description, needs, label, reference, reference_label, measure)
        return measure

    return register


class Weighting(Settings):
    """Weights of tasks from a signal of validation data, by a softmax; a name alone has all defaults."""

    name: str
    """The signal: `uniform`, `loss_gap`, `divergence`, `np_gap` or `worst_task`."""
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

    @field_validator("name")
    @classmethod
    def _is_a_signal(cls, name: str) -> str:
        if name not in SIGNALS:
            raise ValueError(f"one of {', '.join(SIGNALS)} is expected")
        return name

    @property
    def needs(self) -> SignalNeeds:
        """Which signals it uses."""
        return SIGNALS[self.name].needs

    def measure(
        self, signals: Measurements, start: Path, experts: Mapping[str, Path], round_index: int = 1
    ) -> MergeTrace:
        """Measure the signal of every task, and weigh: a trace with the weights and what they came from.

        Args:
            signals: of checkpoints on validation data.
            start: the model that the experts were trained from.
            experts: by task.
            round_index: the round, from 1.

        Raises:
            InputError: a loss or score is not finite.
        """
        signal = SIGNALS[self.name]
        measured = {
            task: signal.measure(self, signals, start, expert, task) for task, expert in experts.items()
        }
        for task, found in measured.items():
            if not math.isfinite(found.urgency):
                raise InputError(
                    f"The signal of the task '{task}' is {found.urgency}; its model gives no numbers."
                )
        urgencies = {task: found.urgency for task, found in measured.items()}
        trace = SignalTrace(
            label=signal.label,
            values={task: found.value for task, found in measured.items()},
            reference=signal.reference,
            reference_label=signal.reference_label,
        )
        return MergeTrace(
            weights=softmax(urgencies, self.temperature_at(round_index)),
            signal=trace if signal.label else None,
            losses={task: found.losses for task, found in measured.items() if found.losses is not None},
        )

    def temperature_at(self, round_index: int) -> float:
        """Return the temperature of a round, from 1."""
        if isinstance(self.temperature, float):
            return self.temperature
        return self.temperature[round_index - 1]

    def check(self, rounds: int) -> None:
        """Refuse temperatures that are not one for each round.

        Raises:
            InputError: there are more or fewer.
        """
        if not isinstance(self.temperature, float) and len(self.temperature) != rounds:
            raise InputError(
                f"The weighting '{self.name}' has {counted(len(self.temperature), 'temperature')}, one for "
                f"each round, and there {how_many(rounds)}; give one for each, or one number."
            )


@signal("uniform", "1/T for each task")
def _uniform(_: Weighting, _signals: Measurements, _start: Path, _expert: Path, _task: str) -> TaskSignal:
    return TaskSignal(0.0, 0.0)


@signal(
    "loss_gap",
    "softmax of L(start) − L(expert) over the temperature, of validation examples (METIS)",
    needs=SignalNeeds(losses=True),
    label="loss gap",
    reference_label="no gap",
)
def _loss_gap(
    weighting: Weighting, signals: Measurements, start: Path, expert: Path, task: str
) -> TaskSignal:
    losses = signals.loss(start, task, weighting.over), signals.loss(expert, task, weighting.over)
    gap = losses[0] - losses[1]
    return TaskSignal(gap, gap, losses)


@signal(
    "divergence",
    "softmax of D(expert‖start), JS or KL, on the expert's continuations of validation inputs",
    needs=SignalNeeds(losses=True),
    label="divergence",
    reference_label="no divergence",
)
def _divergence(
    weighting: Weighting, signals: Measurements, start: Path, expert: Path, task: str
) -> TaskSignal:
    value = signals.divergence(weighting.divergence, expert, start, task)
    return TaskSignal(value, value)


@signal(
    "np_gap",
    "softmax of 1 − NP, the normalised performance on validation data",
    needs=SignalNeeds(scores=True),
    label="NP before the round",
    reference=1.0,
    reference_label="the expert's NP",
)
def _np_gap(_: Weighting, signals: Measurements, start: Path, _expert: Path, task: str) -> TaskSignal:
    value = signals.normalised(start, task)
    return TaskSignal(value, 1 - value)


@signal(
    "worst_task",
    "softmax of −NP; at a low temperature the worst task gets all",
    needs=SignalNeeds(scores=True),
    label="NP before the round",
    reference=1.0,
    reference_label="the expert's NP",
)
def _worst_task(_: Weighting, signals: Measurements, start: Path, _expert: Path, task: str) -> TaskSignal:
    value = signals.normalised(start, task)
    return TaskSignal(value, -value)


def recipe_weights(shares: Mapping[str, float]) -> dict[str, float]:
    """Return shares as the weights of a recipe, 1 on average.

    Equal shares then change nothing about a method that does not divide by the sum of the weights.
    """
    return {task: share * len(shares) for task, share in shares.items()}


def how_many(rounds: int) -> str:
    """Return a number of rounds as the end of "there …"."""
    return "is 1 round" if rounds == 1 else f"are {rounds} rounds"


def softmax(values: Mapping[str, float], temperature: float) -> dict[str, float]:
    """Return exp(v/λ) over their sum, with the largest subtracted first."""
    largest = max(values.values())
    powers = {task: math.exp((value - largest) / temperature) for task, value in values.items()}
    total = math.fsum(powers.values())
    return {task: power / total for task, power in powers.items()}
