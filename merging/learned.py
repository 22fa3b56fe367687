"""Methods whose coefficients are learned from signals, before they merge."""

import hashlib
import json
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from merging.arithmetic import weighted_sum
from merging.coefficients import DifferentiableMerge, Level, by_task, of_tensor
from merging.learning import LEARNING_VERSION, Learned, LearningSettings, learn, learned_before
from merging.method import Context, Method, Scope, make
from merging.signals import ContinuationSettings, Signals
from results.errors import InputError
from results.merge_trace import LearnedCoefficients

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

    @property
    def continuations(self) -> ContinuationSettings:
        """What experts continue: the inputs that are learned from, and those that are held out."""
        return ContinuationSettings(
            self.inputs_per_task + self.held_out,
            self.max_new_tokens,
            self.top_k,
            self.source,
            exact=self.top_k is None,
        )

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
                "The method learns its coefficients from signals: name it in an experiment for `manyshot "
                "run`, or give `coefficients` here, one for each expert."
            )
        values = of_tensor(self.coefficients, context.tasks, context.tensor)
        return weighted_sum(deltas, weights * torch.tensor(values, device=weights.device))


def note_of(folder: Path, settings: Mapping[str, Any]) -> Path:
    """Return the file in which a folder keeps what is learned with some settings."""
    text = json.dumps(settings, sort_keys=True, default=str)
    return folder / f"learning-{hashlib.sha256(text.encode()).hexdigest()[:8]}.json"


def what_was_learned(note: Path) -> LearnedCoefficients | None:
    """Return what a file of `note_of` says was learned; None where nothing was.

    Of the coefficients' path a hundred steps are kept at most, the first and the last among them; their
    numbers are `path_steps`.
    """
    if not note.is_file():
        return None
    content: dict[str, Any] = json.loads(note.read_text(encoding="utf-8"))["state"]["learned"]
    path = content["path"]
    steps = sorted({round(step) for step in np.linspace(0, len(path) - 1, min(len(path), _KEPT_STEPS))})
    return LearnedCoefficients.model_validate(
        {**content, "path": [path[step] for step in steps], "path_steps": steps}
    )


def with_coefficients(
    name: str,
    settings: Mapping[str, Any],
    signals: Signals,
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
        signals: what the coefficients are learned from.
        base: what task vectors are relative to.
        experts: by task.
        seed: of the order of the inputs.
        note: file of what was learned.
    """
    method = make(name, settings)
    if not isinstance(method, LearnedMethod) or method.coefficients is not None:
        return dict(settings)
    learned = learn_coefficients(method, signals, base, experts, seed=seed, note=note)
    found = by_task(torch.tensor(learned.coefficients), learned.tasks, learned.layers)
    return {**settings, "coefficients": found}


def learn_coefficients(
    method: LearnedMethod,
    signals: Signals,
    base: Path,
    experts: Mapping[str, Path],
    *,
    seed: int,
    note: Path,
) -> Learned:
    """Learn a method's coefficients, from where an earlier call was stopped; see `with_coefficients`."""
    from merging.prepare import task_vectors  # which imports this module

    settings, continuations = method.learning(seed), method.continuations
    key = [
        LEARNING_VERSION,
        method.objective,
        method.held_out,
        signals.learning_key(base, experts, continuations),
    ]
    learned = learned_before(settings, note, key)
    if learned is not None:
        return learned
    objective = signals.learning_objective(method.objective, base, experts, continuations, method.held_out)
    vectors = task_vectors(
        str(base), {task: str(path) for task, path in experts.items()}, str(objective.model.device)
    )
    merge = DifferentiableMerge(objective.model, vectors, method.level)
    with signals.progress(f"{note.parent.name} · learning coefficients") as progress:
        return learn(merge, objective, settings, note=note, key=key, progress=progress)
