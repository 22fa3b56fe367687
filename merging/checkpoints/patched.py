"""A checkpoint in which some tensors are put in place of its own, or beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from merging.checkpoints.checkpoint import Checkpoint, TensorInfo
from merging.checkpoints.dtypes import raw_bytes
from merging.checkpoints.when_used import torch
from results.record import CheckpointIdentity


class Part(Protocol):
    """A tensor that can be read by blocks."""

    @property
    def dtype(self) -> str:
        """Its code in safetensors' format."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""

    def block(self, start: int, stop: int) -> torch.Tensor:
        """Return the entries `start` to `stop` of the flattened tensor."""


@dataclass(frozen=True)
class Borrowed:
    """A tensor of another checkpoint."""

    owner: Checkpoint
    name: str

    @property
    def dtype(self) -> str:
        """The owner's."""
        return self.owner.info(self.name).dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The owner's."""
        return self.owner.info(self.name).shape

    def block(self, start: int, stop: int) -> torch.Tensor:
        """Return the entries `start` to `stop` of the flattened tensor."""
        return self.owner.block(self.name, start, stop)


class PatchedCheckpoint(Checkpoint):
    """Another checkpoint's view, with parts of its own. Its identity, folders and files are the other's.

    Args:
        whole: the checkpoint.
        parts: tensors by name, in place of the checkpoint's or beside them.
        config: in place of its configuration.
        generation: in place of its generation settings.
    """

    def __init__(
        self,
        whole: Checkpoint,
        parts: Mapping[str, Part],
        config: dict[str, Any] | None = None,
        generation: dict[str, Any] | None = None,
    ) -> None:
        self._whole, self._parts = whole, dict(parts)
        self._inner = {name: name for name in {*whole.names, *parts}}
        self.folder, self.home, self.files = whole.folder, whole.home, whole.files
        self.tokenizer_folder, self.was_tied = whole.tokenizer_folder, whole.was_tied
        self.config = whole.config if config is None else config
        self._generation = whole.generation_settings() if generation is None else generation

    def generation_settings(self) -> dict[str, Any] | None:
        """Return the generation settings; None where there are none."""
        return self._generation

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors' names, sorted."""
        return tuple(sorted(self._inner))

    def info(self, name: str) -> TensorInfo:
        """Return the dtype and shape of a tensor."""
        inner = self._inner[name]
        stored = self._parts[inner] if inner in self._parts else self._whole.info(inner)
        return TensorInfo(name, stored.dtype, stored.shape)

    def tensor(self, name: str) -> torch.Tensor:
        """Return a tensor."""
        info = self.info(name)
        return self.block(name, 0, info.numel).reshape(info.shape)

    def block(self, name: str, start: int, stop: int) -> torch.Tensor:
        """Return the entries `start` to `stop` of the flattened tensor."""
        inner = self._inner[name]
        if inner in self._parts:
            return self._parts[inner].block(start, stop)
        return self._whole.block(inner, start, stop)

    def raw(self, name: str, start: int, stop: int) -> np.ndarray:
        """Return the bytes of the same entries, uint8."""
        inner = self._inner[name]
        if inner in self._parts:
            return raw_bytes(self.block(name, start, stop))
        return self._whole.raw(inner, start, stop)

    def showing(self, names: Mapping[str, str]) -> PatchedCheckpoint:
        """Return the same checkpoint with only some of its tensors, under other names."""
        view = copy(self)
        view._inner = {new: self._inner[old] for new, old in names.items()}
        return view

    def hash(self, names: Iterable[str]) -> None:
        """Hash some of the other's tensors now; `identity` hashes the rest."""
        inner = {self._inner[name] for name in names if name in self._inner}
        self._whole.hash(sorted(inner.intersection(self._whole.names)))

    def identity(self) -> CheckpointIdentity:
        """Return the digests of the whole checkpoint as it is stored."""
        return self._whole.identity()
