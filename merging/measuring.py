"""Measuring experts for the methods that use it, before they merge."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from merging.checkpoints.pretrained import load_model
from merging.fisher_diagonal import fisher_diagonal
from merging.linear_layers import (
    AT_ONCE,
    LinearLayers,
    in_groups,
    input_grams,
    input_magnitudes,
    kronecker_factors,
)
from merging.measured import (
    EVERYWHERE,
    INDEX,
    MeasuredIndex,
    MeasuredTask,
    read_part,
    write_index,
    write_part,
)
from merging.measured_method import MeasuredMethod
from merging.merged_blocks import MergedBlocks
from merging.methods.regmean_plus_plus import RegMeanPlusPlus
from merging.model_weights import parameters_of, put_weights
from merging.prepare import task_vectors
from merging.signals import Signals
from merging.task_vectors import TaskVectors
from merging.texts import Pair
from results.json_values import cache_key
from results.reading import read_json
from results.writing import locked

MEASURING_VERSION = 1
"""Part of the key of measurements that are kept. To be raised by whatever changes what is measured."""


def measure(
    method: MeasuredMethod,
    signals: Signals,
    base: Path,
    experts: Mapping[str, Path],
    *,
    weights: Mapping[str, float],
    seed: int,
    folder: Path,
) -> Path:
    """Measure what a method uses, from where an earlier call was stopped, and return the folder that has it.

    Args:
        method: says what.
        signals: give the texts.
        base: what task vectors are relative to.
        experts: by task.
        weights: of the experts.
        seed: of the answers that are drawn.
        folder: of all measurements, in which each has a folder by all that decides it.

    Raises:
        InputError: the experts do not fit together, or a model has nothing that could be measured.
    """
    continuations = method.continuations
    decides = [method.decides(weights), signals.learning_key(base, experts, continuations), seed]
    where = folder / f"{method.measures}-{cache_key([MEASURING_VERSION, decides])[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / f".{where.name}.lock"):
        if (where / INDEX).is_file():
            return where
        texts = signals.continued_inputs(experts, continuations)
        vectors = task_vectors(str(base), {task: str(path) for task, path in experts.items()})
        where.mkdir(exist_ok=True)
        for partial in where.glob(".*.partial"):
            partial.unlink()
        with signals.progress(f"measuring {method.measures.replace('_', ' ')}") as progress:
            model = load_model(base).eval().to(signals.device)
            measuring = Measuring(model, vectors, texts, where, seed, _Steps(progress), AT_ONCE)
            write_index(where, measuring.measure(method, weights))
        del model, measuring
        if torch.cuda.is_available():
            torch.cuda.empty_cache()  # for whatever scores what is merged
    return where


def measuring_seconds(merged: Path) -> float | None:
    """Return how long measuring took for a merged checkpoint; None where nothing was measured for it."""
    report = read_json(merged / "merge.json", "merge again", most_bytes=None)
    folder = report["recipe"]["method"].get("measured")
    if folder is None or not (Path(folder) / INDEX).is_file():
        return None
    return float(read_json(Path(folder) / INDEX, "remove the folder, and it is measured again")["seconds"])


class _Steps:
    """Counts texts that were read, of however many there will be."""

    def __init__(self, progress: Any) -> None:
        self._progress, self._done, self.total = progress, 0, 0

    def __call__(self) -> None:
        self._done += 1
        self._progress(self._done, max(self.total, self._done))


@dataclass
class Measuring:
    """A measurement.

    Attributes:
        model: of the base, in float32; experts' weights take the place of its own.
        vectors: the experts.
        texts: of each task.
        folder: where it is written to, a file for each part, so that a stopped one goes on.
        seed: of the answers that are drawn.
        steps: called after each text.
        at_once: bytes of measurements that are gathered in one pass over the texts.
    """

    model: Any
    vectors: TaskVectors
    texts: Mapping[str, Sequence[Pair]]
    folder: Path
    seed: int
    steps: _Steps
    at_once: int

    def measure(self, method: MeasuredMethod, weights: Mapping[str, float]) -> MeasuredIndex:
        """Measure what a method uses, and return what it is."""
        started = time.monotonic()
        if method.measures == "fisher":
            index = self._fishers()
        elif method.measures == "magnitudes":
            index = self._magnitudes()
        elif isinstance(method, RegMeanPlusPlus):
            index = self._merged_grams(weights, method.alpha)
        else:
            index = self._matrices(outputs=method.measures == "kfac")
        return index.but(seconds=round(time.monotonic() - started, 3))

    def _fishers(self) -> MeasuredIndex:
        parameters = parameters_of(self.model, self.vectors)
        for module in self.model.modules():
            if isinstance(module, torch.nn.Embedding):
                module.padding_idx = None  # whose row would get no gradient where the token is read
        stored = _first_names(parameters)
        own = {name: parameters[name] for name in dict.fromkeys(stored.values())}
        groups = in_groups({name: 2 * one.numel() * 4 for name, one in own.items()}, self.at_once)
        tasks: dict[str, MeasuredTask] = {}
        squares = dict.fromkeys(self.texts, 0.0)
        for task, part, names in self._parts(groups):
            found = read_part(self.folder, part)
            if found is None:
                found = fisher_diagonal(
                    self.model, {name: own[name] for name in names}, self.texts[task], self.steps,
                    seed=self.seed, task=task,
                )  # fmt: skip
                write_part(self.folder, part, found)
            squares[task] += sum(float(values.double().square().sum()) for values in found.values())
            self._note(tasks, task, part)
        tasks = {task: one.but(norm=squares[task] ** 0.5) for task, one in tasks.items()}
        return MeasuredIndex(kind="fisher", version=MEASURING_VERSION, tasks=tasks, stored=stored)

    def _matrices(self, *, outputs: bool) -> MeasuredIndex:
        layers = LinearLayers.of(self.model, next(iter(self.texts.values()))[0])
        if outputs:
            stored = {name: name for name in layers.modules}
            sizes = {name: 4 * sum(width**2 for width in layers.sizes(name)) for name in stored}
        else:
            stored = dict(layers.stored)
            sizes = {name: 4 * layers.sizes(name)[0] ** 2 for name in dict.fromkeys(stored.values())}
        tasks: dict[str, MeasuredTask] = {}
        for task, part, names in self._parts(in_groups(sizes, self.at_once)):
            if not (self.folder / part).is_file():
                pairs = self.texts[task]
                found = (
                    kronecker_factors(self.model, layers, names, pairs, self.steps, seed=self.seed, task=task)
                    if outputs
                    else input_grams(self.model, layers, names, pairs, self.steps)
                )
                write_part(self.folder, part, found)
            self._note(tasks, task, part)
        return MeasuredIndex(
            kind="kfac" if outputs else "grams",
            version=MEASURING_VERSION,
            tasks=tasks,
            stored=stored,
            first=layers.reads_first,
        )

    def _merged_grams(self, weights: Mapping[str, float], alpha: float) -> MeasuredIndex:
        shares = torch.tensor([weights[task] for task in self.vectors.experts])
        blocks = MergedBlocks(
            self.model, self.vectors, self.texts, shares=shares, alpha=alpha, folder=self.folder
        )
        self.steps.total = 2 * len(blocks.blocks) * sum(map(len, self.texts.values()))
        files = blocks.measure(self.steps)
        return MeasuredIndex(
            kind="merged_grams",
            version=MEASURING_VERSION,
            tasks={
                task: MeasuredTask(texts=len(self.texts[task]), files=parts) for task, parts in files.items()
            },
            stored=dict(blocks.layers.stored),
            first=blocks.layers.reads_first,
        )

    def _magnitudes(self) -> MeasuredIndex:
        pairs = [pair for _, own in sorted(self.texts.items()) for pair in own]
        self.steps.total = len(pairs)
        found = input_magnitudes(self.model, pairs, self.steps)
        write_part(self.folder, "0-0.safetensors", found)
        layers = LinearLayers.of(self.model, pairs[0])
        return MeasuredIndex(
            kind="magnitudes",
            version=MEASURING_VERSION,
            tasks={EVERYWHERE: MeasuredTask(texts=len(pairs), files=["0-0.safetensors"])},
            stored={name: name for name in found},
            first=layers.reads_first,
        )

    def _parts(self, groups: Sequence[Sequence[str]]) -> Iterator[tuple[str, str, Sequence[str]]]:
        """Yield each task with each group and the name of its file; the model is the task's expert."""
        self.steps.total = len(groups) * sum(map(len, self.texts.values()))
        for place, task in enumerate(sorted(self.texts)):
            names = [f"{place}-{number}.safetensors" for number in range(len(groups))]
            if not all((self.folder / name).is_file() for name in names):
                put_weights(self.model, self.vectors.experts[task], self.vectors, self.vectors.names)
            yield from ((task, *one) for one in zip(names, groups, strict=True))

    def _note(self, tasks: dict[str, MeasuredTask], task: str, part: str) -> None:
        files = [*tasks[task].files, part] if task in tasks else [part]
        tasks[task] = MeasuredTask(texts=len(self.texts[task]), files=files)


def _first_names(parameters: Mapping[str, torch.nn.Parameter]) -> dict[str, str]:
    """Return of each name the first one of the same parameter."""
    first: dict[int, str] = {}
    return {name: first.setdefault(id(one), name) for name, one in parameters.items()}
