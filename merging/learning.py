"""Learning coefficients of task vectors by gradients of an objective of the merged model."""

import json
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from merging.differentiable import DifferentiableMerge
from merging.learned_method import LearnedMethod
from merging.prepare import task_vectors
from merging.signals import Input, LearningObjective, Signals
from results.errors import InputError
from results.json_values import cache_key
from results.merge_trace import LearnedCoefficients
from results.reading import read_json
from results.validation import Settings, validated
from results.writing import write_atomically

logger = logging.getLogger("manyshot.merging")

LEARNING_VERSION = 1
"""Part of the key of coefficients that are kept. To be raised by whatever changes what is learned."""
_LOOKS_PER_EPOCH = 4
"""How often in an epoch the held-out inputs are looked at."""
_KEPT_STEPS = 100


def learning_file(folder: Path, settings: Mapping[str, Any]) -> Path:
    """Return the file in which a folder keeps what is learned with some settings."""
    return folder / f"learning-{cache_key(settings)[:8]}.json"


def learned_coefficients(file: Path) -> LearnedCoefficients | None:
    """Return the coefficients that a file of `learning_file` has; None where there is no file.

    Of the coefficients' path a hundred steps are kept at most, the first and the last among them; their
    numbers are `path_steps`.

    Raises:
        InputError: the file is damaged.
    """
    kept = _kept(file)
    if kept is None:
        return None
    number = len(kept.learned.path)
    steps = sorted({round(step) for step in np.linspace(0, number - 1, min(number, _KEPT_STEPS))})
    return kept.learned.model_copy(
        update={"path": [kept.learned.path[step] for step in steps], "path_steps": steps}
    )


def learn_coefficients(
    method: LearnedMethod,
    signals: Signals,
    base: Path,
    experts: Mapping[str, Path],
    *,
    seed: int,
    file: Path,
) -> LearnedCoefficients:
    """Learn a method's coefficients, from where an earlier call was stopped.

    Args:
        method: says how they are learned.
        signals: what they are learned from.
        base: what task vectors are relative to.
        experts: by task.
        seed: of the order of the inputs.
        file: of what was learned.
    """
    continuations = method.continuations
    signals_key = signals.learning_key(base, experts, continuations)
    key = [LEARNING_VERSION, method.objective, method.held_out, signals_key]
    kept = _kept(file, _digest(key, method, seed))
    if kept is not None and kept.finished:
        return kept.learned
    objective = signals.learning_objective(method.objective, base, experts, continuations, method.held_out)
    vectors = task_vectors(
        str(base), {task: str(path) for task, path in experts.items()}, str(objective.model.device)
    )
    merge = DifferentiableMerge(objective.model, vectors, method.level)
    with signals.progress(f"{file.parent.name} · learning coefficients") as progress:
        return learn(merge, objective, method, seed=seed, file=file, key=key, progress=progress)


class _Moments(Settings):
    """Adam's moments of the coefficients, (tasks, layers)."""

    exp_avg: list[list[float]]
    exp_avg_sq: list[list[float]]


class _KeptState(Settings):
    """The state of a learning, as a file has it."""

    step: int
    finished: bool
    coefficients: list[list[float]]
    moments: _Moments
    learned: LearnedCoefficients


class _State:
    """The state of a learning: all that the next step needs."""

    def __init__(self, kept: _KeptState, learning_rate: float) -> None:
        self.step, self.finished, self.learned = kept.step, kept.finished, kept.learned
        self.saved = time.monotonic()
        self.coefficients = torch.nn.Parameter(torch.tensor(kept.coefficients, dtype=torch.float64))
        self.adam = torch.optim.Adam([self.coefficients], lr=learning_rate)
        self.adam.state[self.coefficients] = {"step": torch.tensor(float(self.step))} | {
            name: torch.tensor(values, dtype=torch.float64) for name, values in kept.moments
        }

    def note(self, **changes: Any) -> None:
        """Change fields of what was learned."""
        self.learned = self.learned.model_copy(update=changes)

    def save(self, file: Path, digest: str) -> None:
        """Write the state to a file, every number exactly."""
        now = time.monotonic()
        self.note(seconds=round(self.learned.seconds + now - self.saved, 3))
        self.saved = now
        moments = self.adam.state[self.coefficients]
        state = {
            "step": self.step,
            "finished": self.finished,
            "coefficients": self.coefficients.tolist(),
            "moments": {name: moments[name].tolist() for name in _Moments.model_fields},
            "learned": self.learned.model_dump(mode="json"),
        }
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, (json.dumps({"of": digest, "state": state}) + "\n").encode())


def learn(
    merged: DifferentiableMerge,
    objective: LearningObjective,
    method: LearnedMethod,
    *,
    seed: int,
    file: Path,
    key: object,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    save_seconds: float = 10,
) -> LearnedCoefficients:
    """Learn coefficients by Adam, from where an earlier call stopped that left its state in a file.

    Args:
        merged: the merged model as a function of its coefficients.
        objective: of that same model. What is made small is Σ_t mean over t's inputs.
        method: says how they are learned.
        seed: of the order of the inputs.
        file: of the state, and at the end of what was learned.
        key: JSON value of all else that decides the outcome; the file of another is written over.
        progress: called with the numbers of steps done and in all.
        save_seconds: the state is saved so often.

    Raises:
        InputError: a task has no inputs to learn from, or a value is no number.
    """
    sizes = _sizes(objective)
    for task, size in sizes.items():
        if size < 1:
            raise InputError(f"The task '{task}' has no inputs to learn coefficients from.")
    batch = method.batch_per_task * len(sizes)
    in_epoch = -(-sum(sizes.values()) // batch)
    steps = min(method.epochs * in_epoch, method.steps or method.epochs * in_epoch)
    every = max(1, in_epoch // _LOOKS_PER_EPOCH)
    digest = _digest(key, method, seed)
    state = _State(_kept(file, digest) or _beginning(merged, method), method.learning_rate)
    state.note(inputs=sizes)
    while not state.finished and state.step < steps and not _is_over(state.learned, method.patience):
        merged.write_weights(state.coefficients.data)
        if state.step % every == 0:
            _validate(state, objective)
        _step(state, merged, objective, method, _batch(sizes, state.step, batch, seed))
        progress(state.step, steps)
        if time.monotonic() - state.saved >= save_seconds:
            state.save(file, digest)
    if not state.finished:
        merged.write_weights(state.coefficients.data)
        _validate(state, objective)
        state.learned.path.append(state.coefficients.tolist())
        best = state.learned.best_step if method.keep_step == "best" else None
        state.note(coefficients=state.learned.path[-1 if best is None else best])
        state.finished = True
        state.save(file, digest)
    return state.learned


def _kept(file: Path, digest: str | None = None) -> _KeptState | None:
    """The state in a file, unless it is another learning's."""
    if not file.is_file():
        return None
    advice = "remove it, and the coefficients are learned again"
    content = read_json(file, advice, most_bytes=None)
    of, state = (content.get("of"), content.get("state")) if isinstance(content, dict) else (digest, content)
    if digest is not None and of != digest:
        return None
    return validated(_KeptState, state, str(file), advice)


def _digest(key: object, method: LearnedMethod, seed: int) -> str:
    return cache_key([key, method.model_dump(), seed])


def _sizes(objective: LearningObjective) -> dict[str, int]:
    """Return how many inputs of each task are learned from."""
    held = objective.held_out()
    return {task: number - held[task] for task, number in objective.inputs().items()}


def _beginning(merged: DifferentiableMerge, method: LearnedMethod) -> _KeptState:
    first = 1 / len(merged.tasks) if method.initial is None else method.initial
    start, zeros = ([[value] * len(merged.layers) for _ in merged.tasks] for value in (first, 0.0))
    return _KeptState(
        step=0,
        finished=False,
        coefficients=start,
        moments=_Moments(exp_avg=zeros, exp_avg_sq=zeros),
        learned=LearnedCoefficients(tasks=merged.tasks, layers=merged.layers, coefficients=start),
    )


def _batch(sizes: Mapping[str, int], step: int, batch: int, seed: int) -> list[Input]:
    """The inputs of a step: every epoch goes over all of them once, in an order of its own."""
    everything = [(task, i) for task, size in sizes.items() for i in range(size)]
    in_epoch = -(-len(everything) // batch)
    epoch, step_in_epoch = divmod(step, in_epoch)
    order = np.random.default_rng([seed, epoch]).permutation(len(everything))
    return [everything[i] for i in order[step_in_epoch * batch : (step_in_epoch + 1) * batch]]


def _step(
    state: _State,
    merged: DifferentiableMerge,
    objective: LearningObjective,
    method: LearnedMethod,
    chosen: Sequence[Input],
) -> None:
    """One step of Adam or the method's own; the mean over its inputs stands for Σ_t mean over t's inputs."""
    state.learned.path.append(state.coefficients.tolist())
    merged.model.zero_grad(set_to_none=True)
    sizes = _sizes(objective)
    total = sum(sizes.values())
    weights = [total / (len(chosen) * sizes[task]) for task, _ in chosen]
    values = objective.values(chosen, weights)
    _refuse_not_finite(values, state.step)
    gradient = merged.gradient()
    own = method.stepped(state.coefficients.data, gradient, state.step)
    if own is None:
        state.coefficients.grad = gradient
        state.adam.step()
    else:
        state.coefficients.data = own
    state.step += 1
    state.learned.curve.append(sum(w * v for w, v in zip(weights, values, strict=True)))


def _refuse_not_finite(values: Sequence[float], step: int) -> None:
    for value in values:
        if not math.isfinite(value):
            raise InputError(
                f"What is made small is {value} at step {step}; lower the learning rate, or look for broken "
                "weights."
            )


def _validate(state: _State, objective: LearningObjective) -> None:
    sizes, held = objective.inputs(), objective.held_out()
    inputs = [(task, i) for task, number in held.items() for i in range(sizes[task] - number, sizes[task])]
    if not inputs or any(step == state.step for step, _ in state.learned.validation):
        return
    values = objective.values(inputs)
    _refuse_not_finite(values, state.step)
    total = sum(value / held[task] for (task, _), value in zip(inputs, values, strict=True))
    state.learned.validation.append((state.step, total))
    best = min(state.learned.validation, key=lambda looked: looked[1])[0]
    state.note(best_step=best)
    logger.debug("step %d: %.6f on held-out inputs", state.step, total)


def _is_over(learned: LearnedCoefficients, patience: int | None) -> bool:
    if patience is None or learned.best_step is None:
        return False
    since = [step for step, _ in learned.validation if step > learned.best_step]
    return len(since) >= patience
