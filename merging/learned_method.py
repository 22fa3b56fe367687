"""Methods whose coefficients are learned from signals before they merge, or given."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from merging.arithmetic import weighted_sum
from merging.checkpoints.when_used import torch
from merging.cost import Cost
from merging.known_methods import name_of
from merging.layers import WHOLE_MODEL, Level, layer_of
from merging.method import Context, Method, Scope
from merging.signals import ContinuationSettings, ObjectiveKind
from results.errors import InputError
from results.merge_trace import LearnedCoefficients

_INPUTS = {"task": 200, "layer": 400}
"""Inputs of each task that DivMerge learns from."""


class LearnedMethod(Method):
    """θ = θ₀ + Σ_t Γ_t w_t τ_t, with coefficients Γ that are learned in an experiment, or given.

    The defaults are DivMerge's (arXiv 2509.02108).
    """

    level: Level = "task"
    """One coefficient for each task, or one for each task and layer."""
    inputs: int | None = Field(None, ge=1)
    """Validation inputs of each task; null is 200 at the level of tasks and 400 at that of layers."""
    held_out: int = Field(0, ge=0)
    """Further inputs of each task that nothing is learned from; they say which step was best."""
    epochs: int = Field(4, ge=1)
    """Passes over the inputs."""
    steps: int | None = Field(None, ge=1)
    """Most steps of learning, of however many the epochs have; null is all of them."""
    batch_per_task: int = Field(4, ge=1)
    """Inputs in a step for each task; a step mixes the tasks."""
    learning_rate: float = Field(1e-2, gt=0)
    """Adam's."""
    initial: float | None = 0.5
    """Every coefficient's first value; null is 1/T."""
    patience: int | None = Field(None, ge=1)
    """Looks at the held-out inputs without a better value after which learning stops; null: never."""
    keep_step: Literal["last", "best"] = "last"
    """Whether the `last` coefficients count or the `best` on held-out inputs."""
    source: Literal["validation", "test"] = "validation"
    """Whether the inputs are those of `validation` or of `test` rows; answers are never looked at."""
    max_new_tokens: int = Field(32, ge=1)
    """Most tokens of an expert's continuation."""
    top_k: int | None = Field(None, ge=1)
    """Likeliest tokens of an expert that are compared, the rest as one; null compares all of them."""
    coefficients: dict[str, float | dict[str, float]] | None = None
    """Of each task, or of each task's layers; null has them learned."""

    scope: ClassVar[Scope] = Scope.ELEMENT

    @model_validator(mode="after")
    def _looks_at_held_out_inputs(self) -> Self:
        if not self.held_out and (self.patience is not None or self.keep_step == "best"):
            raise ValueError(
                "'patience' and 'keep_step: best' look at held-out inputs: give their number, `held_out`"
            )
        return self

    @property
    @abstractmethod
    def objective(self) -> ObjectiveKind:
        """What is made small."""

    @property
    def cost(self) -> Cost:
        """Beside the merge, each step of learning reads the experts twice."""
        return Cost(
            needs=("validation inputs", "gradients"),
            runs="each expert on its inputs to continue them, and the merged model on these texts forward "
            f"and backward {self.epochs} times",
            held="the merged model and its gradient in float32, and some blocks of every expert",
        )

    def stepped(self, coefficients: torch.Tensor, gradient: torch.Tensor, step: int) -> torch.Tensor | None:
        """Return the coefficients (tasks, layers) after a step, counted from 0; None leaves it to Adam."""
        return None

    @property
    def inputs_per_task(self) -> int:
        """How many inputs of each task are learned from, at most."""
        return _INPUTS[self.level] if self.inputs is None else self.inputs

    @property
    def continuations(self) -> ContinuationSettings:
        """What experts continue: the inputs that are learned from, and those that are held out."""
        inputs = self.inputs_per_task + self.held_out
        return ContinuationSettings(
            inputs=inputs,
            max_new_tokens=self.max_new_tokens,
            top_k=self.top_k,
            source=self.source,
            exact=self.top_k is None,
        )

    def __call__(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> torch.Tensor:
        """Return Σ_t Γ_t w_t τ_t of deltas (n_tasks, …)."""
        if self.coefficients is None:
            raise InputError(
                f"Method {name_of(self)!r} learns its coefficients from signals: name it in an experiment "
                "for `manyshot run`, or give `coefficients` here, one for each expert."
            )
        values = tensor_coefficients(self.coefficients, context.tasks, context.tensor)
        return weighted_sum(deltas, weights * torch.tensor(values, device=weights.device))


def coefficients_by_task(learned: LearnedCoefficients) -> dict[str, float | dict[str, float]]:
    """Return coefficients by name, in float32: a number for each task, or one for each of its layers."""
    rows = torch.tensor(learned.coefficients).tolist()
    if learned.layers == (WHOLE_MODEL,):
        return {task: row[0] for task, row in zip(learned.tasks, rows, strict=True)}
    return {
        task: dict(zip(learned.layers, row, strict=True))
        for task, row in zip(learned.tasks, rows, strict=True)
    }


def tensor_coefficients(
    coefficients: Mapping[str, float | Mapping[str, float]], tasks: Sequence[str], tensor: str
) -> list[float]:
    """Return each task's coefficient of a tensor.

    Raises:
        InputError: a task or the tensor's layer has none.
    """
    values = []
    for task in tasks:
        of_task = coefficients.get(task)
        value = of_task.get(layer_of(tensor)) if isinstance(of_task, Mapping) else of_task
        if value is None:
            what = f"of the layer {layer_of(tensor)!r} " if of_task is not None else ""
            raise InputError(f"There is no coefficient {what}of the task {task!r}; name one for each.")
        values.append(float(value))
    return values
