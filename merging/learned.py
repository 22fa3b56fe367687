"""Coefficients that methods have learned before they merge, and the files in which they are kept."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from merging.differentiable import DifferentiableMerge
from merging.known_methods import make_method
from merging.layers import WHOLE_MODEL
from merging.learned_method import LearnedMethod
from merging.learning import LEARNING_VERSION, learn, learned_before, what_is_kept
from merging.prepare import task_vectors
from merging.signals import Signals
from results.json_values import cache_key
from results.merge_trace import LearnedCoefficients

_KEPT_STEPS = 100


def learning_file(folder: Path, settings: Mapping[str, Any]) -> Path:
    """Return the file in which a folder keeps what is learned with some settings."""
    return folder / f"learning-{cache_key(settings)[:8]}.json"


def what_was_learned(file: Path) -> LearnedCoefficients | None:
    """Return what a file of `learning_file` says was learned; None where nothing was.

    Of the coefficients' path a hundred steps are kept at most, the first and the last among them; their
    numbers are `path_steps`.
    """
    learned = what_is_kept(file)
    if learned is None:
        return None
    number = len(learned.path)
    steps = sorted({round(step) for step in np.linspace(0, number - 1, min(number, _KEPT_STEPS))})
    return learned.model_copy(update={"path": [learned.path[step] for step in steps], "path_steps": steps})


def with_coefficients(
    name: str,
    settings: Mapping[str, Any],
    signals: Signals,
    base: Path,
    experts: Mapping[str, Path],
    *,
    seed: int,
    file: Path,
) -> dict[str, Any]:
    """Return a method's settings, with coefficients learned where the method has them learned.

    Args:
        name: the method's.
        settings: its own.
        signals: what the coefficients are learned from.
        base: what task vectors are relative to.
        experts: by task.
        seed: of the order of the inputs.
        file: of what was learned.
    """
    method = make_method(name, settings)
    if not isinstance(method, LearnedMethod) or method.coefficients is not None:
        return dict(settings)
    learned = learn_coefficients(method, signals, base, experts, seed=seed, file=file)
    coefficients = by_task(torch.tensor(learned.coefficients), learned.tasks, learned.layers)
    return {**settings, "coefficients": coefficients}


def learn_coefficients(
    method: LearnedMethod,
    signals: Signals,
    base: Path,
    experts: Mapping[str, Path],
    *,
    seed: int,
    file: Path,
) -> LearnedCoefficients:
    """Learn a method's coefficients, from where an earlier call was stopped; see `with_coefficients`."""
    continuations = method.continuations
    key = [
        LEARNING_VERSION,
        method.objective,
        method.held_out,
        signals.learning_key(base, experts, continuations),
    ]
    learned = learned_before(method, seed, file, key)
    if learned is not None:
        return learned
    objective = signals.learning_objective(method.objective, base, experts, continuations, method.held_out)
    vectors = task_vectors(
        str(base), {task: str(path) for task, path in experts.items()}, str(objective.model.device)
    )
    merge = DifferentiableMerge(objective.model, vectors, method.level)
    with signals.progress(f"{file.parent.name} · learning coefficients") as progress:
        return learn(merge, objective, method, seed=seed, file=file, key=key, progress=progress)


def by_task(
    coefficients: torch.Tensor, tasks: Sequence[str], layers: Sequence[str]
) -> dict[str, float | dict[str, float]]:
    """Return coefficients (tasks, layers) by name: a number for each task, or one for each of its layers."""
    rows = coefficients.tolist()
    if tuple(layers) == (WHOLE_MODEL,):
        return {task: row[0] for task, row in zip(tasks, rows, strict=True)}
    return {task: dict(zip(layers, row, strict=True)) for task, row in zip(tasks, rows, strict=True)}
