"""LoRI: adapters whose A stays as it was drawn, and of whose B all entries are trained, or a chosen share.

Source: Zhang et al. 2025, "LoRI: Reducing Cross-Task Interference in Multi-Task Low-Rank Adaptation",
arXiv 2504.07448. LoRI-D trains all of B. LoRI-S calibrates first, which is a training of LoRI-D; takes those
entries of B that it moved most, over all layers together; and trains these alone, from the start again.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from merging.optimise import is_main

_FILE, _LOSS = "masks.safetensors", "loss"


@dataclass(frozen=True)
class Calibration:
    """What a calibration found.

    Attributes:
        masks: of each B, by its parameter's name and of its shape: True where it is to be trained.
        loss: the loss curve.
    """

    masks: Mapping[str, torch.Tensor]
    loss: list[list[float]]


def freeze_projections(model: Any) -> None:
    """Train no A of a model's adapter."""
    for name, parameter in model.named_parameters():
        if ".lora_A." in name:
            parameter.requires_grad_(False)


def calibrate(
    begin: Callable[[], Any],
    optimise: Callable[[Any, Path], list[list[float]]],
    density: float,
    folder: Path,
) -> Calibration:
    """Return the masks of LoRI-S, which are kept in a folder and read from there the next time.

    Args:
        begin: returns the model with its adapter at the start.
        optimise: trains a model in place, with its saves in a folder; returns the loss curve.
        density: share of the entries of all B that the masks keep, in (0, 1].
        folder: for the masks, and for saves while they are not there.
    """
    kept = folder / _FILE
    if kept.exists():
        return _read(kept)
    model = begin()
    begun = _trained_factors(model)
    curve = optimise(model, folder)
    moved = {name: (factor - begun[name]).abs() for name, factor in _trained_factors(model).items()}
    found = Calibration(largest(moved, density), curve)
    if is_main():
        folder.mkdir(exist_ok=True)
        partial = kept.with_suffix(".partial")
        save_file(dict(found.masks), partial, {_LOSS: json.dumps(curve)})
        partial.rename(kept)
    return found


def largest(magnitudes: Mapping[str, torch.Tensor], density: float) -> dict[str, torch.Tensor]:
    """Return masks of the max(1, ⌊K·d⌋) largest of d entries in all tensors together, K being the density.

    Of equal ones the first by tensor name and position are taken.

    Args:
        magnitudes: tensors of any shapes, by name.
        density: K, in (0, 1].
    """
    names = sorted(magnitudes)
    entries = torch.cat([magnitudes[name].flatten() for name in names])
    count = max(1, int(density * len(entries)))
    least = entries.kthvalue(len(entries) - count + 1).values
    mask = entries > least
    equal = (entries == least).nonzero().flatten()
    mask[equal[: count - int(mask.sum())]] = True
    parts = mask.split([magnitudes[name].numel() for name in names])
    return {name: part.view_as(magnitudes[name]) for name, part in zip(names, parts, strict=True)}


def train_only(model: Any, masks: Mapping[str, torch.Tensor]) -> None:
    """Set the gradients of a model to zero outside masks, before they are clipped.

    AdamW then moves no other entry, but for the decay of entries that are not zero.

    Args:
        model: with parameters of the masks' names and shapes.
        masks: True where a parameter is trained.
    """
    for name, mask in masks.items():
        model.get_parameter(name).register_hook(_Outside(~mask))


class _Outside:
    """A hook that sets a gradient to zero where a mask says so."""

    def __init__(self, outside: torch.Tensor) -> None:
        self._outside = outside

    def __call__(self, gradient: torch.Tensor) -> torch.Tensor:
        self._outside = self._outside.to(gradient.device)  # the model is moved after it is given its hooks
        return gradient.masked_fill(self._outside, 0)


def _trained_factors(model: Any) -> dict[str, torch.Tensor]:
    """Return copies of every B on the CPU, by parameter name."""
    return {
        name: parameter.detach().cpu().clone()
        for name, parameter in model.named_parameters()
        if ".lora_B." in name
    }


def _read(kept: Path) -> Calibration:
    with safe_open(kept, "pt") as stored:
        masks = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        return Calibration(masks, json.loads(stored.metadata()[_LOSS]))
