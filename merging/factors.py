"""Merging adapters in the space of their factors: A and B of every matrix apart, into another adapter."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from merging.checkpoints.adapter import CONFIG, SCALING_SETTINGS, Adapter, is_adapter
from merging.checkpoints.checkpoint import Checkpoint, Stored
from merging.checkpoints.folders import exists, locate
from merging.checkpoints.tokenizer_files import copy_tokenizer
from merging.checkpoints.when_used import torch
from results.errors import InputError

_SHARED_SETTINGS = (*SCALING_SETTINGS, "target_modules")
"""Settings that factors must share to mean the same."""


def open_factors(base: str, experts: Mapping[str, str]) -> tuple[Checkpoint, dict[str, Checkpoint]]:
    """Open adapters as their factors, and what their task vectors are relative to.

    Args:
        base: an adapter, as the one that a previous round merged; or the model that they are adapters of, for
            which the factors are relative to zero.
        experts: adapters by name.

    Raises:
        InputError: an expert is no adapter, or two have other bases, ranks, scalings or targets.
    """
    adapters = {name: _opened(name, path) for name, path in experts.items()}
    first, reference = next(iter(adapters.items()))
    for name, adapter in adapters.items():
        _refuse_unlike(f"Expert {name!r}", adapter, f"{first!r}", reference)
    bases = {f"Expert {name!r}": locate(adapter.base) for name, adapter in adapters.items()}
    if is_adapter(folder := locate(base)):
        bases["The base"] = locate(Adapter.open(folder).base)
    _refuse_other_bases(bases, folder)
    opened = {name: adapter.factors() for name, adapter in adapters.items()}
    if not is_adapter(folder):
        return _zeros(opened[first], folder), opened
    start = Adapter.open(folder)
    _refuse_unlike("The base", start, f"{first!r}", reference)
    return start.factors(), opened


def write_companions(expert: Checkpoint, folder: Path) -> None:
    """Write the merged adapter's configuration, an expert's, and the tokenizer files that lie beside it."""
    adapter = Adapter.open(expert.folder)
    config = {**adapter.config, "base_model_name_or_path": _absolute(adapter.base), "inference_mode": True}
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    copy_tokenizer(expert.folder, folder)


def _absolute(base: str) -> str:
    return str(Path(base).resolve()) if Path(base).is_dir() else base


def _opened(name: str, path: str) -> Adapter:
    folder = locate(path if exists(path) else path.rpartition("+")[2])
    if not is_adapter(folder):
        raise InputError(
            f"Expert {name!r} ({folder}) is no adapter, which the space of factors is for; "
            "merge whole models in the space 'delta'."
        )
    opened = Adapter.open(folder)
    if opened.config.get("use_dora"):
        raise InputError(
            f"Expert {name!r} ({folder}) is an adapter with `use_dora`, whose lengths are no task vectors in "
            "the space of factors; take the space 'delta'."
        )
    return opened


def _refuse_unlike(called: str, adapter: Adapter, other_called: str, other: Adapter) -> None:
    for setting in _SHARED_SETTINGS:
        mine, theirs = (_plain(each.config.get(setting)) for each in (adapter, other))
        if mine != theirs:
            raise InputError(
                f"{called} ({adapter.folder}) is an adapter with {setting} {mine}, and {other_called} has "
                f"{theirs}; the factors of unlike adapters cannot be merged, their products can: take the "
                "space 'delta'."
            )


def _refuse_other_bases(bases: Mapping[str, Path], folder: Path) -> None:
    """Refuse adapters of other weights than those of the first's base, or of the whole model in `folder`."""
    called, expected = ("the base", folder) if not is_adapter(folder) else next(iter(bases.items()))
    if all(base.resolve() == expected.resolve() for base in bases.values()):
        return
    weights = {path: Checkpoint.open(path).identity().weights for path in {*bases.values(), expected}}
    for name, base in bases.items():
        if weights[base] != weights[expected]:
            raise InputError(
                f"{name} is an adapter of {base}, and {called} is of other weights, {expected}; factors have "
                "a meaning on one base only."
            )


def _plain(value: object) -> object:
    return sorted(value) if isinstance(value, list) else value or None


def _zeros(like: Checkpoint, folder: Path) -> Checkpoint:
    """Factors of zero: what an adapter adds to before anything was learned."""
    stored = {}
    for name in like.names:
        info = like.info(name)
        if ".lora_" not in name:
            raise InputError(
                f"{like.folder} holds the whole tensor {name!r} beside its factors, which has no task vector "
                "in the space of factors; take the space 'delta'."
            )
        stored[name] = Stored(info, torch.zeros(info.numel, dtype=like.block(name, 0, 0).dtype))
    return Checkpoint(folder, like.config, [], stored)
