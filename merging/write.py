"""Writing a checkpoint's weights as a stream: safetensors shards of their final size, filled in any order."""

from __future__ import annotations

import errno
import json
import os
import struct
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from merging.checkpoints.checkpoint import INDEX_FILE, SINGLE_FILE, TensorInfo
from merging.checkpoints.dtypes import NBYTES, code_of, raw_bytes, torch_dtype
from merging.checkpoints.when_used import torch
from results.errors import InputError

_CANNOT_RESERVE = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}
"""What file systems say that have no way to set room aside."""


@dataclass(frozen=True)
class Shard:
    """A file of weights to be written: its name, its header, and its tensors in the order of the file."""

    name: str
    header: bytes
    tensors: tuple[TensorInfo, ...]

    @property
    def nbytes(self) -> int:
        """Size of the file."""
        return len(self.header) + sum(tensor.nbytes for tensor in self.tensors)


def plan_shards(tensors: Iterable[TensorInfo], max_shard_size: int) -> tuple[Shard, ...]:
    """Return the files that hold some tensors.

    Wider dtypes come first, so that every tensor is aligned to its own dtype in the mapped file, and names
    are sorted within.

    Args:
        tensors: everything that will be written.
        max_shard_size: bytes of weights in one file; a tensor that is larger gets a file of its own.
    """
    ordered = sorted(tensors, key=lambda t: (-NBYTES[t.dtype], t.name))
    split = _split(ordered, max_shard_size)
    return tuple(
        Shard(name, _header(shard), tuple(shard))
        for name, shard in zip(_file_names(len(split)), split, strict=True)
    )


def are_there(folder: Path, shards: Iterable[Shard]) -> bool:
    """Whether a folder has all files of a plan in their full size."""
    paths = [(folder / shard.name, shard.nbytes) for shard in shards]
    return all(path.is_file() and path.stat().st_size == nbytes for path, nbytes in paths)


class BlockWriter(Protocol):
    """Takes the blocks of merged tensors, in any order and from several threads."""

    def write(self, name: str, start: int, block: torch.Tensor) -> None:
        """Take the entries of a tensor from `start` on, of the planned dtype."""

    def write_raw(self, name: str, start: int, raw: np.ndarray) -> None:
        """Take the same as bytes, uint8 (nbytes,)."""

    def write_index(self) -> None:
        """Do what is left when all tensors are whole."""


class WeightsInMemory:
    """Takes blocks into tensors in memory, which the next merge of the same plan writes over.

    Args:
        shards: the plan.

    Attributes:
        tensors: by name.
    """

    def __init__(self, shards: Sequence[Shard]) -> None:
        self.tensors = {
            tensor.name: torch.empty(tensor.shape, dtype=torch_dtype(tensor.dtype))
            for shard in shards
            for tensor in shard.tensors
        }

    def write(self, name: str, start: int, block: torch.Tensor) -> None:
        """Take the entries of a tensor from `start` on."""
        self.tensors[name].view(-1)[start : start + block.numel()] = block.reshape(-1)

    def write_raw(self, name: str, start: int, raw: np.ndarray) -> None:
        """Take the same as bytes."""
        whole = self.tensors[name]
        begin = start * whole.element_size()
        raw_bytes(whole)[begin : begin + raw.size] = raw

    def write_index(self) -> None:
        """Nothing is left to do."""


class WeightsWriter:
    """Fills the files of a plan. Used in a `with` statement, which makes them in their full size.

    Files that are there keep what they hold, so that an earlier writer's work can be continued. Blocks may
    be written from several threads.
    """

    def __init__(self, folder: Path, shards: Sequence[Shard]) -> None:
        self._folder = folder
        self._shards = shards
        self._files = ExitStack()
        self._places: dict[str, tuple[int, int, TensorInfo]] = {}

    def __enter__(self) -> WeightsWriter:
        for shard in self._shards:
            file = os.open(self._folder / shard.name, os.O_RDWR | os.O_CREAT, 0o644)
            self._files.callback(os.close, file)
            _reserve(file, shard, self._folder)
            os.pwrite(file, shard.header, 0)
            offset = len(shard.header)
            for tensor in shard.tensors:
                self._places[tensor.name] = (file, offset, tensor)
                offset += tensor.nbytes
        return self

    def write(self, name: str, start: int, block: torch.Tensor) -> None:
        """Write the entries of a tensor from `start` on.

        Args:
            name: the tensor.
            start: position of the block's first entry in the flattened tensor.
            block: entries in row-major order, of the planned dtype.

        Raises:
            ValueError: the entries are of another dtype, or too many.
        """
        if code_of(block.dtype) != self._places[name][2].dtype:
            raise self._unplanned(name)
        self.write_raw(name, start, raw_bytes(block))

    def write_raw(self, name: str, start: int, raw: np.ndarray) -> None:
        """Write the same as bytes, uint8 (nbytes,).

        Raises:
            ValueError: they are too many.
        """
        file, offset, tensor = self._places[name]
        begin, data = start * NBYTES[tensor.dtype], raw.data
        if begin + len(data) > tensor.nbytes:
            raise self._unplanned(name)
        while data:
            written = os.pwrite(file, data, offset + begin)
            begin, data = begin + written, data[written:]

    def _unplanned(self, name: str) -> ValueError:
        tensor = self._places[name][2]
        return ValueError(f"tensor {name!r} was planned as {tensor.dtype} of {tensor.nbytes} bytes")

    def write_index(self) -> None:
        """Write the index, where there is more than one file."""
        if len(self._shards) == 1:
            return
        index = {
            "metadata": {"total_size": sum(tensor.nbytes for s in self._shards for tensor in s.tensors)},
            "weight_map": {tensor.name: shard.name for shard in self._shards for tensor in shard.tensors},
        }
        text = json.dumps(index, indent=2, sort_keys=True) + "\n"
        (self._folder / INDEX_FILE).write_text(text, encoding="utf-8")

    def __exit__(self, *error: object) -> None:
        self._files.close()


def _reserve(file: int, shard: Shard, folder: Path) -> None:
    """Give a file its full size on the disk, so that a full disk shows before the work and not after it."""
    if os.fstat(file).st_size == shard.nbytes:
        return
    os.ftruncate(file, shard.nbytes)
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file, 0, shard.nbytes)
    except OSError as error:
        if error.errno in _CANNOT_RESERVE:
            return
        raise InputError(
            f"{folder.parent} has no room for {shard.name} of {shard.nbytes} bytes ({error.strerror}); "
            "free some, or name a folder on another disk."
        ) from error


def _split(tensors: Sequence[TensorInfo], max_shard_size: int) -> list[list[TensorInfo]]:
    shards: list[list[TensorInfo]] = [[]]
    size = 0
    for tensor in tensors:
        if shards[-1] and size + tensor.nbytes > max_shard_size:
            shards.append([])
            size = 0
        shards[-1].append(tensor)
        size += tensor.nbytes
    return shards


def _file_names(count: int) -> list[str]:
    if count == 1:
        return [SINGLE_FILE]
    return [f"model-{i:05d}-of-{count:05d}.safetensors" for i in range(1, count + 1)]


def _header(tensors: Sequence[TensorInfo]) -> bytes:
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for tensor in tensors:
        entries[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + tensor.nbytes],
        }
        offset += tensor.nbytes
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text
