"""Writing a checkpoint's weights as a stream: safetensors shards whose headers are known beforehand."""

import json
import struct
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import IO

import torch

from merging.checkpoint import INDEX_FILE, SINGLE_FILE, TensorInfo
from merging.dtypes import BY_CODE


class WeightsWriter:
    """Writes tensors block by block into model.safetensors, or into shards with an index.

    Used in a `with` statement, which writes the headers first and, if nothing failed, the index at the end.

    Attributes:
        order: the tensors in the order in which their blocks must be appended. Wider dtypes come first, so
            that every tensor is aligned to its own dtype in the mapped file, and names are sorted within.
    """

    def __init__(self, folder: Path, tensors: Iterable[TensorInfo], max_shard_size: int) -> None:
        """Plan the files.

        Args:
            folder: an existing folder.
            tensors: everything that will be written.
            max_shard_size: bytes of weights in one file; a tensor that is larger gets a file of its own.
        """
        self.order = tuple(sorted(tensors, key=lambda t: (-BY_CODE[t.dtype].itemsize, t.name)))
        self._shards = _split(self.order, max_shard_size)
        self._paths = [folder / name for name in _file_names(len(self._shards))]
        self._index = folder / INDEX_FILE
        self._waiting = [
            (tensor, path) for path, shard in zip(self._paths, self._shards, strict=True) for tensor in shard
        ]
        self._at = 0
        self._written = 0
        self._file: IO[bytes] | None = None

    def __enter__(self) -> "WeightsWriter":
        for path, shard in zip(self._paths, self._shards, strict=True):
            path.write_bytes(_header(shard))
        return self

    def append(self, name: str, block: torch.Tensor) -> None:
        """Append the next entries of a tensor.

        Args:
            name: the tensor that is due in `order`.
            block: its next entries in row-major order, of the planned dtype.

        Raises:
            ValueError: another tensor is due, or the entries are of another dtype or too many.
        """
        self._skip_full()
        if self._at == len(self._waiting) or self._waiting[self._at][0].name != name:
            raise ValueError(f"tensor {name!r} is not due")
        tensor, path = self._waiting[self._at]
        data = block.reshape(-1).view(torch.uint8).numpy().data
        if block.dtype != BY_CODE[tensor.dtype] or self._written + len(data) > tensor.nbytes:
            raise ValueError(f"tensor {name!r} was planned as {tensor.dtype} of {tensor.nbytes} bytes")
        if self._file is None or Path(self._file.name) != path:
            self._close()
            self._file = path.open("ab")
        self._file.write(data)
        self._written += len(data)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        if kind is not None:
            return
        self._skip_full()
        if self._at < len(self._waiting):
            raise ValueError(f"tensor {self._waiting[self._at][0].name!r} is incomplete")
        if len(self._paths) > 1:
            index = {
                "metadata": {"total_size": sum(tensor.nbytes for tensor in self.order)},
                "weight_map": {tensor.name: path.name for tensor, path in self._waiting},
            }
            self._index.write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")

    def _skip_full(self) -> None:
        while self._at < len(self._waiting) and self._written == self._waiting[self._at][0].nbytes:
            self._at += 1
            self._written = 0

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _split(tensors: tuple[TensorInfo, ...], max_shard_size: int) -> list[list[TensorInfo]]:
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


def _header(tensors: list[TensorInfo]) -> bytes:
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
