"""A checkpoint opened lazily: its tensors are memory-mapped, and read block by block."""

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from merging.digest import config_digest, tensor_digest, tokenizer_digest, weights_digest
from merging.dtypes import BY_CODE
from merging.hub import locate
from merging.tokenizer import read_json
from results.errors import InputError
from results.record import CheckpointIdentity

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"


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
        return self.numel * BY_CODE[self.dtype].itemsize


@dataclass(frozen=True)
class _Stored:
    """A tensor as a file holds it."""

    file: safe_open
    info: TensorInfo


class Checkpoint:
    """A folder with config.json and safetensors weights, in one file or in shards with an index.

    Nothing is loaded until a block is asked for, and then only that block's pages.

    Attributes:
        folder: where it lies on this machine.
        config: the content of config.json.
    """

    def __init__(self, folder: Path, config: dict[str, Any], stored: Mapping[str, _Stored]) -> None:
        self.folder = folder
        self.config = config
        self._all = tuple(stored.values())
        self._shown = dict(sorted(stored.items()))
        self._hashes: dict[str, str] = {}

    @classmethod
    def open(cls, path: str | Path) -> "Checkpoint":
        """Open a checkpoint's folder, or fetch it where `path` is a hub name (org/name).

        Raises:
            InputError: it is not there, is not a whole checkpoint, or is of a kind that cannot be merged.
        """
        folder = locate(path)
        _refuse_other_kinds(folder)
        config = read_json(folder / "config.json")
        if not isinstance(config, dict):
            raise InputError(
                f"{folder / 'config.json'} holds no mapping; a model's configuration is expected."
            )
        if (folder / SINGLE_FILE).is_file():
            return cls(folder, config, _open_file(folder / SINGLE_FILE))
        return cls(folder, config, _open_shards(folder))

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
        return stored.file.get_tensor(stored.info.name)

    def block(self, name: str, start: int, stop: int) -> torch.Tensor:
        """Return the entries `start` to `stop` of the flattened tensor, as a 1-D view of the mapped file."""
        return self.tensor(name).reshape(-1)[start:stop]

    def showing(self, names: Mapping[str, str]) -> "Checkpoint":
        """Return the same checkpoint with only some of its tensors, under other names.

        Args:
            names: shown name -> the name it has in this checkpoint. The identity stays that of the whole.
        """
        view = Checkpoint(self.folder, self.config, {new: self._shown[old] for new, old in names.items()})
        view._all = self._all
        view._hashes = self._hashes
        return view

    def hash(self, names: Iterable[str]) -> None:
        """Hash some tensors now, while their pages are in memory; `identity` hashes the rest."""
        self._hash([self._shown[name] for name in names])

    def identity(self) -> CheckpointIdentity:
        """Return the digests of weights, configuration and tokenizer; the first call reads every byte."""
        return self._identity

    @cached_property
    def _identity(self) -> CheckpointIdentity:
        rest = [stored for stored in self._all if stored.info.name not in self._hashes]
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
            # The largest first, so that no thread is left alone with one at the end.
            for _ in threads.map(self._hash, [[s] for s in sorted(rest, key=lambda s: -s.info.nbytes)]):
                pass
        lines = [(s.info.name, s.info.dtype, s.info.shape, self._hashes[s.info.name]) for s in self._all]
        return CheckpointIdentity(
            weights=weights_digest(lines),
            config=config_digest(self.folder),
            tokenizer=tokenizer_digest(self.folder),
        )

    def _hash(self, tensors: Sequence[_Stored]) -> None:
        for stored in tensors:
            if stored.info.name not in self._hashes:
                self._hashes[stored.info.name] = tensor_digest(stored.file.get_tensor(stored.info.name))


def _refuse_other_kinds(folder: Path) -> None:
    if (folder / "adapter_config.json").is_file() and not (folder / SINGLE_FILE).is_file():
        raise InputError(f"{folder} is a PEFT adapter, not a whole model; merge it into its base first.")
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder} has no config.json; a Hugging Face model folder is expected.")
    if (folder / SINGLE_FILE).is_file() or (folder / INDEX_FILE).is_file():
        return
    if any(folder.glob("*.bin")):
        raise InputError(
            f"{folder} holds its weights as .bin files only; save it again as safetensors "
            "(transformers' save_pretrained does)."
        )
    raise InputError(
        f"{folder} has neither {SINGLE_FILE} nor {INDEX_FILE}; safetensors weights are expected."
    )


def _open_file(path: Path) -> dict[str, _Stored]:
    try:
        file = safe_open(path, framework="pt", device="cpu")
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path} is not a whole safetensors file ({error}); copy or download it again."
        ) from error
    stored = {}
    for name in file.keys():  # noqa: SIM118 - a safetensors handle is not iterable
        entry = file.get_slice(name)
        if entry.get_dtype() not in BY_CODE:
            raise InputError(
                f"{path}: tensor {name!r} has dtype {entry.get_dtype()}; dequantise the model to one of "
                "F32, BF16 or F16."
            )
        stored[name] = _Stored(file, TensorInfo(name, entry.get_dtype(), tuple(entry.get_shape())))
    return stored


def _open_shards(folder: Path) -> dict[str, _Stored]:
    index = folder / INDEX_FILE
    content = read_json(index)
    places = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(places, dict) or not all(isinstance(shard, str) for shard in places.values()):
        raise InputError(f"{index} has no weight_map from tensor names to shard names; download it again.")
    shards = sorted(set(places.values()))
    for shard in shards:
        pure = PurePosixPath(shard)
        if pure.is_absolute() or ".." in pure.parts:
            raise InputError(
                f"{index} names the shard {shard!r}, outside its folder; shards must lie beside it."
            )
        if not (folder / shard).is_file():
            raise InputError(
                f"{index} names the shard {shard!r}, which is missing; copy or download it again."
            )
    stored: dict[str, _Stored] = {}
    for shard in shards:
        held = _open_file(folder / shard)
        listed = {name for name, place in places.items() if place == shard}
        if held.keys() != listed:
            name = min(held.keys() ^ listed)
            problem = "lists it there but the shard lacks it" if name in listed else "does not list it there"
            raise InputError(
                f"{folder / shard} and the index disagree on tensor {name!r} ({INDEX_FILE} {problem}); "
                "copy or download both again."
            )
        stored |= held
    return stored
