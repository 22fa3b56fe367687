"""The task vectors τ_t = θ_t − θ₀ of some experts, by blocks in float32, and the cosines between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from merging import kernels
from merging.blocks import Block, blocks, map_in_order, one_torch_thread_each
from merging.checkpoints.checkpoint import Checkpoint
from merging.checkpoints.dtypes import FLOATS, bfloat16_bits
from merging.checkpoints.when_used import torch
from merging.layers import LayerPosition, layer_positions
from merging.method import Context, Place, Scope
from merging.stored_block import StoredBlock
from results.errors import InputError

PIECE = 2**18
"""Entries that a pass sees at once. A constant, so that sums of floats never depend on how a merge is cut."""


@dataclass(frozen=True)
class TaskVectors:
    """A base and its experts, read as differences.

    Attributes:
        base: the checkpoint θ₀.
        experts: θ_t by name, in the order of the deltas.
        seed: the merge's seed.
        digests: the experts' weights digests where a method needs them.
        device: where the differences are made and merged: `cpu`, `cuda`, `cuda:1`.
        notices: what was done to make the checkpoints fit together, a sentence each.
        positions: of every tensor in its stack of blocks.
    """

    base: Checkpoint
    experts: Mapping[str, Checkpoint]
    seed: int = 0
    digests: tuple[str, ...] = ()
    device: str = "cpu"
    notices: tuple[str, ...] = ()
    positions: Mapping[str, LayerPosition] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "positions", layer_positions(self.base.names))

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors that have task vectors: those of floats."""
        return tuple(name for name in self.base.names if self.base.info(name).dtype in FLOATS)

    @property
    def on_cpu(self) -> bool:
        """Whether differences are made on the CPU."""
        return is_cpu(self.device)

    def pieces(self, names: Sequence[str] | None = None) -> Iterator[tuple[str, Block]]:
        """Yield the tensors named, by default all of floats by name, in pieces of `PIECE` entries."""
        for name in self.names if names is None else names:
            for block in blocks(self.base.info(name).shape, Scope.ELEMENT, PIECE):
                yield name, block

    def are_bfloat16(self, name: str) -> bool:
        """Whether a tensor is bfloat16 in every checkpoint, and differences are made on the CPU."""
        checkpoints = (self.base, *self.experts.values())
        return self.on_cpu and all(opened.info(name).dtype == "BF16" for opened in checkpoints)

    def blocks(self, name: str, block: Block) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return the base's and the experts' own weights of a block, as they are stored."""
        base, *experts = (
            opened.block(name, block.start, block.stop) for opened in (self.base, *self.experts.values())
        )
        return base, experts

    def read(self, name: str, block: Block, statistics: Mapping[str, Any]) -> tuple[torch.Tensor, Context]:
        """Return one block of all task vectors, (n_tasks, *block.shape) in float32, and its context.

        Raises:
            InputError: the base or an expert holds NaN or infinity there.
        """
        base, deltas = self._differences(name, block)
        context = Context(**self._place(name, block, statistics), base=base.reshape(block.shape))
        return deltas.reshape(-1, *block.shape), context

    def stored_block(self, name: str, block: Block, statistics: Mapping[str, Any]) -> StoredBlock | None:
        """Return one flat block as it is stored; None where it is not bfloat16 everywhere."""
        if not self.are_bfloat16(name):
            return None
        base, *experts = (
            opened.raw(name, block.start, block.stop) for opened in (self.base, *self.experts.values())
        )
        return StoredBlock.of(base, experts, Place(**self._place(name, block, statistics)))

    def _place(self, name: str, block: Block, statistics: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of `method.Place`."""
        position = self.positions[name]
        return {
            "tensor": name,
            "layer": position.layer,
            "depth": position.depth,
            "shape": self.base.info(name).shape,
            "offset": block.start,
            "tasks": tuple(self.experts),
            "seed": self.seed,
            "digests": self.digests,
            "statistics": statistics,
        }

    def _differences(self, name: str, block: Block) -> tuple[torch.Tensor, torch.Tensor]:
        """The base's block in float32, and each expert's less it, (n_tasks, length)."""
        stored, weights = self.blocks(name, block)
        base = widened(stored, self.device)
        deltas = torch.empty((len(self.experts), len(base)), dtype=torch.float32, device=self.device)
        # NaN and infinity on either side survive the subtraction, so a look at the differences is enough.
        if not _subtract(weights, base, deltas):
            self._refuse(name, block)
        return base, deltas

    def _refuse(self, name: str, block: Block) -> None:
        experts = {f"Expert {task!r}": expert for task, expert in self.experts.items()}
        for called, checkpoint in {"The base": self.base, **experts}.items():
            weights = checkpoint.block(name, block.start, block.stop)
            if not weights.isfinite().all():
                raise InputError(
                    f"{called} ({checkpoint.folder}) holds NaN or infinity in tensor {name!r}; "
                    "give a checkpoint whose weights are finite."
                )
        raise InputError(f"The task vectors of tensor {name!r} overflow float32; check the experts' weights.")


def cosines(vectors: TaskVectors, threads: int = 1) -> list[list[float]]:
    """Return the cosine between every two task vectors of whole models, (tasks, tasks).

    Sums are taken in float64, in an order that does not depend on the number of threads.

    Raises:
        InputError: an expert is the base, whose task vector has no direction.
    """

    def products(piece: tuple[str, Block]) -> np.ndarray:
        deltas, _ = vectors.read(*piece, {})
        wide = deltas.double().reshape(len(deltas), -1)
        return (wide @ wide.t()).cpu().numpy()

    gram = np.zeros((len(vectors.experts), len(vectors.experts)))
    with one_torch_thread_each():
        for _, part in map_in_order(products, vectors.pieces(), threads):
            gram += part
    norms = np.sqrt(np.diag(gram))
    for name, norm in zip(vectors.experts, norms, strict=True):
        if norm == 0:
            raise InputError(f"Expert {name!r} has the base's weights, so its task vector has no direction.")
    return (gram / np.outer(norms, norms)).tolist()


def is_cpu(device: str) -> bool:
    """Whether a device, by its name, is the CPU."""
    return device.partition(":")[0] == "cpu"


def widened(weights: torch.Tensor, device: str = "cpu") -> torch.Tensor:
    """Return flat weights in float32 on a device; those that are float32 there are not copied."""
    if weights.dtype != torch.bfloat16 or not is_cpu(device):
        return weights.to(device, torch.float32)
    out = torch.empty(len(weights), dtype=torch.float32)
    kernels.widen_bfloat16(bfloat16_bits(weights), out.view(torch.uint32).numpy())
    return out


def _subtract(weights: Sequence[torch.Tensor], base: torch.Tensor, out: torch.Tensor) -> bool:
    """Write the weights less the base, each into its row, and return whether all of it is finite."""
    if out.device.type != "cpu" or any(stored.dtype != torch.bfloat16 for stored in weights):
        for row, stored in zip(out, weights, strict=True):
            row.copy_(stored)
        out -= base
        return all(bool(bound.isfinite()) for bound in torch.aminmax(out))
    rows, origin = out.numpy(), base.numpy()
    largest = [
        kernels.subtract_from_bfloat16(bfloat16_bits(stored), origin, row, row.view(np.uint32))
        for stored, row in zip(weights, rows, strict=True)
    ]
    return bool(max(largest) < kernels.INFINITY)
