"""A checkpoint opened lazily: its tensors are memory-mapped, and read block by block."""

from __future__ import annotations

import json
import mmap
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from merging.checkpoints.digests import config_digest, tokenizer_digest, weights_digest
from merging.checkpoints.dtypes import NBYTES, code_of, raw_bytes, refuse_no_weights, torch_dtype
from merging.checkpoints.folders import convert_advice, locate, read_json, read_mapping, refuse_removed
from merging.checkpoints.kept_digests import TensorDigests
from merging.checkpoints.when_used import torch
from results.errors import InputError
from results.record import CheckpointIdentity

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
BIN_FILE = "pytorch_model.bin"
BIN_INDEX_FILE = "pytorch_model.bin.index.json"
FACTORS = "LoRA adapter"
"""The model_type of a checkpoint that is an adapter's factors."""
_one_at_a_time = threading.Lock()
"""Held while warnings are ignored, which is so for all threads."""


@dataclass(frozen=True)
class TensorInfo:
    """A tensor's name, dtype (the safetensors code, such as `BF16`) and shape."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def numel(self) -> int:
        """Number of entries."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self.numel * NBYTES[self.dtype]


@dataclass(frozen=True)
class Stored:
    """A tensor in row-major order.

    Attributes:
        info: what it is.
        held: its bytes as a view of the mapped file, uint8 (nbytes,); or its entries on any device, (numel,).
    """

    info: TensorInfo
    held: np.ndarray | torch.Tensor

    @cached_property
    def flat(self) -> torch.Tensor:
        """Its entries, (numel,); a view of what is held."""
        if not isinstance(self.held, np.ndarray):
            return self.held
        dtype = torch_dtype(self.info.dtype)
        if not self.info.numel:
            return torch.empty(0, dtype=dtype)
        # What is warned of is that the memory cannot be written into, which nobody does.
        with _one_at_a_time, warnings.catch_warnings(action="ignore"):
            return torch.from_numpy(self.held).view(dtype)

    @property
    def raw(self) -> np.ndarray:
        """Its bytes, uint8 (nbytes,), which a tensor of a file gives without torch."""
        return self.held if isinstance(self.held, np.ndarray) else raw_bytes(self.held)


class Checkpoint:
    """A folder with config.json and weights: safetensors or else .bin, in one file or in shards.

    Nothing is loaded until a block is asked for, and then only that block's pages. (A .bin file from before
    torch 1.6 is loaded whole.)

    Attributes:
        folder: where it lies on this machine.
        config: the content of config.json.
        home: the folder of the whole model: its configuration, generation settings and tokenizer.
        was_tied: whether its tables were tied, and are shown apart.
        tokenizer_folder: the folder of the tokenizer that it was trained with, maybe an adapter's own.
        files: the names of the files that hold the weights.
    """

    def __init__(
        self,
        folder: Path,
        config: dict[str, Any],
        files: Sequence[str],
        stored: Mapping[str, Stored],
        digests: TensorDigests | None = None,
    ) -> None:
        self.folder = folder
        self.config = config
        self.home = self.tokenizer_folder = folder
        self.was_tied = False
        self.files = tuple(files)
        self._all = tuple(stored.values())
        self._shown = dict(sorted(stored.items()))
        self._digests = digests or TensorDigests(folder, [])

    @classmethod
    def open(cls, path: str | Path) -> Checkpoint:
        """Open a checkpoint's folder, or fetch it where `path` is a hub name (org/name).

        Raises:
            InputError: it is not there, is not a whole checkpoint, or is of a kind that cannot be merged.
        """
        folder = locate(path)
        refuse_removed(folder)
        _refuse_other_kinds(folder)
        config = read_mapping(folder / "config.json")
        for single, index, open_file in (
            (SINGLE_FILE, INDEX_FILE, open_safetensors),
            (BIN_FILE, BIN_INDEX_FILE, _open_bin),
        ):
            if (folder / single).is_file():
                digests = TensorDigests(folder, files := [single])
                stored = open_file(folder / single)
            elif (folder / index).is_file():
                shard_of = _shards(folder, index)
                digests = TensorDigests(folder, files := sorted(set(shard_of.values())))
                stored = _open_shards(folder, index, shard_of, open_file)
            else:
                continue
            refuse_no_weights(folder, dtypes_of(stored), config)
            return cls(folder, config, files, stored, digests)
        raise InputError(
            f"{folder} has neither {SINGLE_FILE} nor {BIN_FILE}, nor an index of such files in shards; "
            "weights are expected beside config.json."
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors' names, sorted."""
        return tuple(self._shown)

    def info(self, name: str) -> TensorInfo:
        """Return the dtype and shape of a tensor."""
        stored = self._shown[name].info
        return TensorInfo(name, stored.dtype, stored.shape)

    def tensor(self, name: str) -> torch.Tensor:
        """Return a tensor as a view of the mapped file; it must not be written into."""
        stored = self._shown[name]
        return stored.flat.reshape(stored.info.shape)

    def block(self, name: str, start: int, stop: int) -> torch.Tensor:
        """Return the entries `start` to `stop` of the flattened tensor, as a 1-D view of the mapped file."""
        return self._shown[name].flat[start:stop]

    def raw(self, name: str, start: int, stop: int) -> np.ndarray:
        """Return the bytes of the same entries, uint8."""
        stored = self._shown[name]
        size = NBYTES[stored.info.dtype]
        return stored.raw[start * size : stop * size]

    def showing(self, names: Mapping[str, str]) -> Checkpoint:
        """Return the same checkpoint with only some of its tensors, under other names.

        Args:
            names: shown name -> the name it has in this checkpoint. The identity stays that of the whole.
        """
        stored = {new: self._shown[old] for new, old in names.items()}
        view = Checkpoint(self.folder, self.config, self.files, stored, self._digests)
        view._all = self._all
        return view

    def generation_settings(self) -> dict[str, Any] | None:
        """Return the content of generation_config.json; None where there is none."""
        file = self.home / "generation_config.json"
        return read_mapping(file) if file.is_file() else None

    def hash(self, names: Iterable[str]) -> None:
        """Hash some tensors now, while their pages are in memory; `identity` hashes the rest."""
        self._digests.hash([self._shown[name] for name in names])

    def identity(self) -> CheckpointIdentity:
        """Return the digests of weights, configuration and tokenizer; the first call reads every byte."""
        return self._identity

    @cached_property
    def _identity(self) -> CheckpointIdentity:
        return CheckpointIdentity(
            weights=weights_digest(self._digests.described(self._all)),
            config=config_digest(self.folder),
            tokenizer=tokenizer_digest(self.folder),
        )


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    """Return the tensors in a checkpoint's folder by name, as views of the mapped files."""
    opened = Checkpoint.open(folder)
    return {name: opened.tensor(name) for name in opened.names}


def _refuse_other_kinds(folder: Path) -> None:
    if (folder / "adapter_config.json").is_file() and not (folder / SINGLE_FILE).is_file():
        raise InputError(f"{folder} is a PEFT adapter, and a whole model is expected here.")
    if not (folder / "config.json").is_file():
        if files := sorted(folder.glob("*.gguf")):
            raise InputError(f"{folder} holds a GGUF file; {convert_advice(files[0])}.")
        raise InputError(f"{folder} has no config.json; a Hugging Face model folder is expected.")


def open_safetensors(path: Path) -> dict[str, Stored]:
    """Map a safetensors file: its tensors by name.

    Raises:
        InputError: it is not whole, or holds quantised tensors.
    """
    try:
        with safe_open(path, framework="np") as checked:  # checks the header against the file
            slices = {name: checked.get_slice(name) for name in checked.keys()}  # noqa: SIM118 - not iterable
            infos = [TensorInfo(name, s.get_dtype(), tuple(s.get_shape())) for name, s in slices.items()]
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path} is not a complete safetensors file ({error}); copy or download it again."
        ) from error
    for info in infos:
        if info.dtype not in NBYTES:
            raise InputError(
                f"{path}: tensor {info.name!r} has dtype {info.dtype}; dequantise the model to one of "
                "F32, BF16 or F16."
            )
    # Mapped once: safetensors maps anew for each look at a tensor, which takes 0.1 ms.
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    length = int.from_bytes(mapped[:8], "little")
    header = json.loads(mapped[8 : 8 + length])
    content = np.frombuffer(mapped, dtype=np.uint8)[8 + length :]
    return {info.name: Stored(info, content[slice(*header[info.name]["data_offsets"])]) for info in infos}


def dtypes_of(stored: Mapping[str, Stored]) -> dict[str, str]:
    """Return the dtype codes of tensors by their names."""
    return {name: tensor.info.dtype for name, tensor in stored.items()}


def open_adapter_weights(path: Path) -> dict[str, Stored]:
    """Map the file of an adapter's weights, as `open_safetensors` does.

    Raises:
        InputError: it is missing or not whole, or a tensor is no weight.
    """
    if not path.is_file():
        raise InputError(f"{path.parent} has no {path.name}; copy or download the adapter again.")
    stored = open_safetensors(path)
    refuse_no_weights(path, dtypes_of(stored), {})
    return stored


def _open_bin(path: Path) -> dict[str, Stored]:
    tensors = _load_bin(path)
    if not isinstance(tensors, dict):
        raise InputError(f"{path} holds no mapping from names to tensors; save the model again.")
    stored = {}
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not _is_plain(tensor):
            raise InputError(
                f"{path}: {name!r} is no plain tensor of numbers; save the model again as safetensors "
                "(transformers' save_pretrained does)."
            )
        info = TensorInfo(name, str(code_of(tensor.dtype)), tuple(tensor.shape))
        stored[name] = Stored(info, tensor.detach().reshape(-1).contiguous())
    return stored


def _is_plain(tensor: object) -> bool:
    """Whether it is a tensor of numbers in memory, no larger than what the file has for it."""
    return (
        isinstance(tensor, torch.Tensor)
        and tensor.layout == torch.strided
        and code_of(tensor.dtype) is not None
        and tensor.device.type == "cpu"
        and tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()
    )


def _load_bin(path: Path) -> Any:
    """Return what a .bin file holds; it is unpickled with weights only, so that none of its code runs."""
    try:
        mapped = zipfile.is_zipfile(path)  # as every version of torch since 1.6 writes it
        with warnings.catch_warnings(action="ignore"):  # of pickle's protocol; what is refused is an error
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # whatever the file's content makes the unpickler stumble over
        raise InputError(
            f"{path} is not a whole file of weights alone (it is cut off, or asks for code to be run, which "
            "is refused); save the model again as safetensors (transformers' save_pretrained does)."
        ) from error


def _shards(folder: Path, index_file: str) -> dict[str, str]:
    """The shard of each tensor, by name; all of them are there."""
    index = folder / index_file
    content = read_json(index)
    shard_of = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(shard_of, dict) or not all(isinstance(shard, str) for shard in shard_of.values()):
        raise InputError(f"{index} has no weight_map from tensor names to shard names; download it again.")
    for shard in sorted(set(shard_of.values())):
        pure = PurePosixPath(shard)
        if pure.is_absolute() or ".." in pure.parts:
            raise InputError(
                f"{index} names the shard {shard!r}, outside its folder; shards must lie beside it."
            )
        if not (folder / shard).is_file():
            raise InputError(
                f"{index} names the shard {shard!r}, which is missing; copy or download it again."
            )
    return shard_of


def _open_shards(
    folder: Path, index_file: str, shard_of: Mapping[str, str], open_file: Callable[[Path], dict[str, Stored]]
) -> dict[str, Stored]:
    stored: dict[str, Stored] = {}
    for shard in sorted(set(shard_of.values())):
        held = open_file(folder / shard)
        listed = {name for name, other in shard_of.items() if other == shard}
        if held.keys() != listed:
            name = min(held.keys() ^ listed)
            problem = "lists it there but the shard lacks it" if name in listed else "does not list it there"
            raise InputError(
                f"{folder / shard} and the index disagree on tensor {name!r} ({index_file} {problem}); "
                "copy or download both again."
            )
        stored |= held
    return stored
