"""What was measured of experts before a merge, tensor by tensor, as it lies in a folder.

`measured.json` says what it is; it is written last, so a folder with it is complete. Beside it lie files of
safetensors, some for each task, in float32.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError, safe_open

from merging.checkpoints.when_used import torch
from results.errors import InputError
from results.reading import read_json
from results.suite import TaskName
from results.validation import Settings, validated
from results.writing import write_atomically

MeasuredKind = Literal["fisher", "grams", "merged_grams", "kfac", "magnitudes"]
INDEX = "measured.json"
OUTPUT = "|output"
"""Ends the name of the Gram matrix of the gradients of a layer's outputs."""
EVERYWHERE = "all tasks"
"""Stands for the tasks in what is measured of the base on the texts of all of them."""


class MeasuredTask(Settings):
    """What was measured of one task's expert."""

    texts: int
    """On how many texts."""
    files: list[str]
    """That hold it."""
    norm: float = 0.0
    """‖F_t‖₂ of a Fisher diagonal."""


class MeasuredIndex(Settings):
    """The content of `measured.json`."""

    kind: MeasuredKind
    """What was measured."""
    version: int
    """Of the code that measured it."""
    tasks: dict[TaskName, MeasuredTask]
    """By task."""
    stored: dict[str, str]
    """Under which name each tensor's is stored; layers that read the same have one Gram matrix."""
    first: list[str] = []
    """The tensors whose first dimension is that of the inputs; else it is the last."""
    seconds: float = 0.0
    """That measuring took."""


class Measured:
    """What lies in a folder of measurements.

    Attributes:
        index: what it is.
    """

    def __init__(self, folder: Path, index: MeasuredIndex) -> None:
        self.folder, self.index = folder, index
        self._files: dict[tuple[str, str], Any] = {}
        for task, of_task in index.tasks.items():
            for name in of_task.files:
                try:
                    file = safe_open(folder / name, framework="pt")
                except (OSError, SafetensorError) as error:
                    raise InputError(
                        f"{folder / name} cannot be read ({error}); remove the folder, and it is measured "
                        "again."
                    ) from None
                self._files |= {(task, key): file for key in file.keys()}  # noqa: SIM118 - no mapping

    @classmethod
    def open(cls, folder: Path, kind: MeasuredKind) -> Measured:
        """Open a folder.

        Raises:
            InputError: it is no such folder, is damaged, or holds something else than what is wanted.
        """
        file = folder / INDEX
        if not file.is_file():
            raise InputError(
                f"{folder} holds no measurements: {INDEX} is expected in it, as `manyshot run` writes it for "
                "methods that measure experts."
            )
        advice = "remove the folder, and it is measured again"
        index = validated(MeasuredIndex, read_json(file, advice), str(file), advice)
        if index.kind != kind:
            raise InputError(f"{folder} holds measurements of the kind {index.kind!r}; {kind!r} is expected.")
        return cls(folder, index)

    def has(self, tensor: str) -> bool:
        """Whether something was measured of a tensor."""
        return tensor in self.index.stored

    def reads_first(self, tensor: str) -> bool:
        """Whether a tensor's first dimension is that of its layer's inputs."""
        return tensor in self.index.first

    def flat(self, task: str, tensor: str, start: int, stop: int) -> torch.Tensor:
        """Return entries of what was measured of a tensor, which is stored flat."""
        name = self.index.stored[tensor]
        return self._of(task, name).get_slice(name)[start:stop]

    def whole(self, task: str, tensor: str, ending: str = "") -> torch.Tensor:
        """Return what was measured of a tensor, or of its outputs."""
        name = tensor + ending if ending else self.index.stored[tensor]
        return self._of(task, name).get_tensor(name)

    def _of(self, task: str, name: str) -> Any:
        found = self._files.get((task, name))
        if found is None:
            raise InputError(f"{self.folder} has nothing of {name!r} for the task {task!r}.")
        return found


def write_part(folder: Path, name: str, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write one file of measurements, which appears when it is complete."""
    partial = folder / f".{name}.partial"
    from safetensors.torch import save_file  # which imports torch

    save_file({key: value.contiguous().cpu() for key, value in tensors.items()}, partial)
    partial.replace(folder / name)


def read_part(folder: Path, name: str) -> dict[str, torch.Tensor] | None:
    """Return the content of a file of measurements; None where it is not there."""
    if not (folder / name).is_file():
        return None
    with safe_open(folder / name, framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping


def write_index(folder: Path, index: MeasuredIndex) -> None:
    """Write what makes a folder of measurements complete."""
    content = index.model_dump(mode="json")
    write_atomically(folder / INDEX, (json.dumps(content, indent=1) + "\n").encode())
