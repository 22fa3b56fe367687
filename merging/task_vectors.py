"""The task vectors τ_t = θ_t − θ₀ of some experts, made block by block in float32."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from merging.blocks import Block
from merging.checkpoint import Checkpoint
from merging.dtypes import MERGED
from merging.layers import Place, places
from merging.method import Context
from results.errors import InputError


@dataclass(frozen=True)
class TaskVectors:
    """A base and its experts, read as differences.

    Attributes:
        base: the checkpoint θ₀.
        experts: θ_t by name, in the order of the deltas.
        weights: the experts' weights in the merge, float32, (n_tasks,).
        seed: the merge's seed.
        digests: the experts' weights digests where a method needs them.
    """

    base: Checkpoint
    experts: Mapping[str, Checkpoint]
    weights: torch.Tensor
    seed: int = 0
    digests: tuple[str, ...] = ()
    _places: Mapping[str, Place] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_places", places(self.base.names))

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors that have task vectors: those of floats."""
        return tuple(name for name in self.base.names if self.base.info(name).dtype in MERGED)

    def read(self, name: str, block: Block, statistics: Mapping[str, Any]) -> tuple[torch.Tensor, Context]:
        """Return one block of all task vectors, (n_tasks, *block.shape) in float32, and its context.

        Raises:
            InputError: the base or an expert holds NaN or infinity there.
        """
        base = self.base.block(name, block.start, block.stop).to(torch.float32)
        deltas = torch.empty((len(self.experts), block.stop - block.start), dtype=torch.float32)
        for delta, expert in zip(deltas, self.experts.values(), strict=True):
            delta.copy_(expert.block(name, block.start, block.stop)).sub_(base)
        # NaN and infinity on either side survive the subtraction, so one look at the differences is enough.
        if not all(bound.isfinite() for bound in torch.aminmax(deltas)):
            self._refuse(name, block)
        place = self._places[name]
        context = Context(
            tensor=name,
            layer=place.layer,
            depth=place.depth,
            shape=self.base.info(name).shape,
            offset=block.start,
            base=base.reshape(block.shape),
            seed=self.seed,
            digests=self.digests,
            statistics=statistics,
        )
        return deltas.reshape(-1, *block.shape), context

    def _refuse(self, name: str, block: Block) -> None:
        for called, checkpoint in {"The base": self.base, **self._called()}.items():
            weights = checkpoint.block(name, block.start, block.stop)
            if not weights.isfinite().all():
                raise InputError(
                    f"{called} ({checkpoint.folder}) holds NaN or infinity in tensor {name!r}; "
                    "give a checkpoint whose weights are finite."
                )
        raise InputError(f"The task vectors of tensor {name!r} overflow float32; check the experts' weights.")

    def _called(self) -> dict[str, Checkpoint]:
        return {f"Expert {name!r}": checkpoint for name, checkpoint in self.experts.items()}
