"""A block as bfloat16 checkpoints hold it, for methods that merge it in one compiled loop.

What the loop gives is, bit for bit, what reading the task vectors in float32, calling the method and rounding
give, in a fraction of the time: nothing leaves the cache in between.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from merging import kernels
from merging.checkpoints.dtypes import bfloat16_bits
from merging.method import Context
from merging.tally import Tally


@dataclass(frozen=True)
class StoredBlock:
    """One flat block of a tensor that is bfloat16 in every checkpoint, in the CPU's memory.

    Attributes:
        base: bfloat16 numbers as uint16, (length,).
        experts: the same, (length,) each.
        context: where the block lies, with the base as it is stored.
    """

    base: np.ndarray
    experts: tuple[np.ndarray, ...]
    context: Context

    @classmethod
    def of(cls, base: torch.Tensor, experts: Sequence[torch.Tensor], context: Context) -> "StoredBlock":
        """Return the block of flat bfloat16 tensors (length,)."""
        return cls(bfloat16_bits(base), tuple(map(bfloat16_bits, experts)), context)

    def merge(self, loop: Callable[..., Any], settings: Any, *, sparse: bool) -> "MergedStored | None":
        """Run a loop of `kernels` or `sparse_kernels`; None where a number is not finite.

        Args:
            loop: called with base, experts, settings, room for the merged block, and the sums of a `Tally`.
            settings: of the method.
            sparse: whether the loop drops entries, and counts those that it keeps.
        """
        tally, n_tasks = Tally.empty(len(self.experts)), len(self.experts)
        out, tasks, kept = np.empty_like(self.base), np.zeros((n_tasks, 4)), np.zeros(n_tasks)
        sums = (tally.result, tasks, kept) if sparse else (tally.result, tasks)
        if loop(self.base, self.experts, settings, out, sums) >= kernels.INFINITY:
            return None
        tally.entries, tally.sparse = self.base.size, sparse
        tally.tasks = np.insert(tasks, 2, kept if sparse else tasks[:, 1], axis=1)
        return MergedStored(torch.from_numpy(out).view(torch.bfloat16), tally)


@dataclass(frozen=True)
class MergedStored:
    """A merged block in bfloat16, (length,), and what became of it."""

    weights: torch.Tensor
    tally: Tally


@runtime_checkable
class MergesStored(Protocol):
    """A method that has a loop of its own for stored blocks."""

    def merge_stored(self, block: StoredBlock, weights: torch.Tensor) -> MergedStored | None:
        """Merge a block; None where the settings have no loop, or a number is not finite.

        Args:
            block: what to merge.
            weights: the recipe's, float32, (n_tasks,).
        """


@runtime_checkable
class ObservesStored(Protocol):
    """A first pass that has a loop of its own for stored blocks."""

    def observe_stored(self, block: StoredBlock, weights: torch.Tensor) -> Any | None:
        """Return the part of one piece, as `observe` does; None where `observe` is to be asked."""
