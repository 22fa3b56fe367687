"""Methods whose coefficients are learned from what a harness measures, before they merge."""

import hashlib
import json
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import torch

from merging.arithmetic import weighted_sum
from merging.coefficients import Level, by_task, of_tensor
from merging.learning import Learned, LearningSettings
from merging.method import Context, Method, Scope, make
from results.errors import InputError

_INPUTS = {"task": 200, "layer": 400}
"""Inputs of each task that DivMerge learns from."""
_KEPT_STEPS = 100


@dataclass(frozen=True)
class LearnedMethod(Method):
    """θ = θ₀ + Σ_t Γ_t w_t τ_t, with coefficients Γ that are learned in an experiment, or given.

    Attributes:
        level: one coefficient for each task, or one for each task and layer.
        inputs: validation inputs of each task; null is 200 at the level of tasks and 400 at that of layers.
        held_out: further inputs of each task that nothing is learned from; they say which step was best.
        epochs: passes over the inputs.
        steps: most steps of learning, of however many epochs have; null is all of them.
        batch_per_task: inputs in a step for each task.
        learning_rate: Adam's.
        initial: every coefficient's first value; null is 1/T.
        patience: looks at the held-out inputs without a better value after which learning stops; null: never.
        keep_step: whether the `last` coefficients count or the `best` on held-out inputs.
        source: whether the inputs are those of `validation` or of `test` rows; answers are never looked at.
        max_new_tokens: most tokens that an expert goes on with.
        top_k: likeliest tokens of an expert that are compared, the rest as one; null compares all of them.
        coefficients: of each task, or of each task's layers; null has them learned.
    """

    level: Level = "task"
    inputs: int | None = None
    held_out: int = 0
    epochs: int = 4
    steps: int | None = None
    batch_per_task: int = 4
    learning_rate: float = 1e-2
    initial: float | None = 0.5
    patience: int | None = None
    keep_step: Literal["last", "best"] = "last"
    source: Literal["validation", "test"] = "validation"
    max_new_tokens: int = 32
    top_k: int | None = None
    coefficients: dict[str, float | dict[str, float]] | None = None

    scope: ClassVar[Scope] = Scope.ELEMENT

    def __post_init__(self) -> None:
        self.learning(0)
        if not self.held_out and (self.patience is not None or self.keep_step == "best"):
            raise InputError(
                "'patience' and 'keep_step: best' look at held-out inputs: give their number, `held_out`."
            )
        for name, least in {"inputs": 1, "steps": 1, "held_out": 0, "max_new_tokens": 1, "top_k": 1}.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"setting {name!r} is {value}, expected {least} or more.")

    @property
    @abstractmethod
    def objective(self) -> Literal["kl", "js", "entropy"]:
        """What is made small."""

    @property
    def inputs_per_task(self) -> int:
        """How many inputs of each task are learned from, at most."""
        return _INPUTS[self.level] if self.inputs is None else self.inputs

    def learning(self, seed: int) -> LearningSettings:
        """How the coefficients are learned."""
        return LearningSettings(
            level=self.level,
            epochs=self.epochs,
            steps=self.steps,
            batch_per_task=self.batch_per_task,
            learning_rate=self.learning_rate,
            initial=self.initial,
            patience=self.patience,
            keep_step=self.keep_step,
            seed=seed,
        )

    def __call__(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> torch.Tensor:
        """Return Σ_t Γ_t w_t τ_t of deltas (n_tasks, …)."""
        if self.coefficients is None:
            raise InputError(
                "The method learns its coefficients from a harness: name it in an experiment for `manyshot "
                "run`, or give `coefficients` here, one for each expert."
            )
        values = of_tensor(self.coefficients, context.tasks, context.tensor)
        return weighted_sum(deltas, weights * torch.tensor(values, device=weights.device))


class Teacher(Protocol):
    """What coefficients are learned by: the harness."""

    def learn(
        self, method: LearnedMethod, base: Path, experts: Mapping[str, Path], seed: int, note: Path
    ) -> Learned:
        """Learn the coefficients of experts on a base, going on from what is in a file."""


def note_of(folder: Path, settings: Mapping[str, Any]) -> Path:
    """Return the file in which a folder keeps what is learned with some settings."""
    text = json.dumps(settings, sort_keys=True, default=str)
    return folder / f"learning-{hashlib.sha256(text.encode()).hexdigest()[:8]}.json"


def what_was_learned(note: Path) -> dict[str, Any] | None:
    """Return what a file of `note_of` says was learned, as a JSON value; None where nothing was.

    Of the coefficients' path a hundred steps are kept at most, the first and the last among them; their
    numbers are `path_steps`.
    """
    if not note.is_file():
        return None
    content: dict[str, Any] = json.loads(note.read_text(encoding="utf-8"))["state"]["learned"]
    path = content["path"]
    steps = sorted({round(step) for step in np.linspace(0, len(path) - 1, min(len(path), _KEPT_STEPS))})
    return {**content, "path": [path[step] for step in steps], "path_steps": steps}


def with_coefficients(
    name: str,
    settings: Mapping[str, Any],
    teacher: Teacher,
    base: Path,
    experts: Mapping[str, Path],
    *,
    seed: int,
    note: Path,
) -> dict[str, Any]:
    """Return a method's settings, with coefficients learned where the method has them learned.

    Args:
        name: the method's.
        settings: its own.
        teacher: the harness.
        base: what task vectors are relative to.
        experts: by task.
        seed: of the order of the inputs.
        note: file of what was learned.
    """
    method = make(name, settings)
    if not isinstance(method, LearnedMethod) or method.coefficients is not None:
        return dict(settings)
    learned = teacher.learn(method, base, experts, seed, note)
    found = by_task(torch.tensor(learned.coefficients), learned.tasks, learned.layers)
    return {**settings, "coefficients": found}
