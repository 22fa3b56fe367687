"""PEFT adapters (LoRA): their files, their factors, and what they change in their base."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from merging.checkpoints.checkpoint import FACTORS, Checkpoint, Stored, open_adapter_weights
from merging.checkpoints.compiled import add_scaled, compiled, scale
from merging.checkpoints.folders import locate, read_mapping, refuse_removed
from merging.checkpoints.kept_digests import TensorDigests
from merging.checkpoints.when_used import torch
from results.errors import InputError

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PEFT_PREFIX = "base_model.model."
"""Before the names of a model's modules in peft, and so in an adapter's file."""
_BASE_LAYER = ".base_layer."

SCALING_SETTINGS = ("r", "lora_alpha", "use_rslora", "fan_in_fan_out", "rank_pattern", "alpha_pattern")
_OTHER_KINDS = (
    *("alora_invocation_tokens", "use_qalora", "layer_replication", "kasa_config", "use_bdlora"),
    *("target_parameters", "monteclora_config", "arrow_config"),
)
"""Settings by which an adapter is no fixed sum of factors: it acts after some tokens only, on pooled inputs,
on repeated layers, by singular values or blocks of its own, on parameters without a module, or by chance."""


@dataclass(frozen=True)
class LowRank:
    """What an adapter adds to a matrix: `left` (rows, rank), scaled, times `right` (rank, columns)."""

    left: torch.Tensor
    right: torch.Tensor

    def block(self, start: int, stop: int) -> torch.Tensor:
        """Return the entries `start` to `stop` of the flattened product, float32."""
        out = torch.empty(stop - start)
        _multiply_low_rank(self.left.numpy(), self.right.numpy(), start, out.numpy())
        return out


@compiled()
def _multiply_low_rank(left: np.ndarray, right: np.ndarray, start: int, out: np.ndarray) -> None:
    """Write entries of the flattened product of (rows, rank) and (rank, columns) from `start` on, float32.

    Each entry adds up over the rank in order, so it does not depend on where a block begins.
    """
    columns = right.shape[1]
    done = 0
    while done < out.size:
        row, column = divmod(start + done, columns)
        part = out[done : done + columns - column]
        scale(right[0, column : column + part.size], left[row, 0], part)
        for k in range(1, right.shape[0]):
            add_scaled(part, right[k, column : column + part.size], left[row, k])
        done += part.size


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter's files.

    Attributes:
        folder: where they lie.
        config: the content of adapter_config.json.
        stored: every tensor of the file, by its name there.
        digests: of these.
    """

    folder: Path
    config: Mapping[str, Any]
    stored: Mapping[str, Stored]
    digests: TensorDigests

    @classmethod
    def open(cls, folder: Path) -> Adapter:
        """Open an adapter's folder.

        Raises:
            InputError: it is not whole, or of a kind other than LoRA.
        """
        refuse_removed(folder)
        config = read_mapping(folder / CONFIG)
        for setting in _OTHER_KINDS:
            if config.get(setting):
                raise InputError(
                    f"{folder} is an adapter with `{setting}`, which is no fixed sum to its base's weights; "
                    "LoRA without it is what can be merged."
                )
        if config.get("peft_type") != "LORA":
            raise InputError(
                f"{folder} is an adapter of the kind {config.get('peft_type')} (`peft_type`); LoRA is what "
                "can be merged."
            )
        digests = TensorDigests(folder, [WEIGHTS])
        return cls(folder, config, open_adapter_weights(folder / WEIGHTS), digests)

    @property
    def base(self) -> str:
        """Where its base is: a folder, beside the adapter's where it lies there, or a hub name.

        Raises:
            InputError: it names none.
        """
        return _base(self.folder, self.config)

    def factors(self) -> Checkpoint:
        """The factors themselves as a checkpoint, A and B of every matrix apart."""
        described = {"model_type": FACTORS, **scaling_settings(self.config)}
        return Checkpoint(self.folder, described, [WEIGHTS], self.stored, self.digests)

    @property
    def saved_tables(self) -> frozenset[str]:
        """The base's own tables that peft saves beside factors of them, by the base's names."""
        return frozenset(inner_name(name) for name in self.stored if _BASE_LAYER in name)


def inner_name(name: str) -> str:
    """Return the name in the base of what an adapter stores under a name."""
    return name.removeprefix(PEFT_PREFIX).replace(_BASE_LAYER, ".")


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter and no whole model beside it."""
    return (folder / CONFIG).is_file() and not (folder / "config.json").is_file()


def base_folder(adapter: Path) -> Path | None:
    """Return the folder of the model that an adapter of any kind is for; None for a whole model.

    Raises:
        InputError: the adapter names no base, or its base cannot be had.
    """
    return locate(_base(adapter, read_mapping(adapter / CONFIG))) if is_adapter(adapter) else None


def _base(folder: Path, config: Mapping[str, Any]) -> str:
    named = config.get("base_model_name_or_path")
    if not isinstance(named, str) or not named:
        raise InputError(f"{folder / CONFIG} names no base; write it as base+adapter, or save it again.")
    beside = folder / named
    return str(beside) if beside.is_dir() else named


def scaling_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that decide what the factors mean."""
    return {name: config[name] for name in SCALING_SETTINGS if config.get(name)}
