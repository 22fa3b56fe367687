"""A block as bfloat16 checkpoints hold it, for methods that merge it in one compiled loop.

What the loop gives is, bit for bit, what reading the task vectors in float32, calling the method and rounding
give, in a fraction of the time: nothing leaves the cache in between.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from merging import kernels, noise
from merging.method import Place
from merging.tally import Tally


@dataclass(frozen=True)
class StoredBlock:
    """One flat block of a tensor that is bfloat16 in every checkpoint, in the CPU's memory.

    Attributes:
        base: bfloat16 numbers as uint16, (length,).
        experts: the same, (length,) each.
        context: where the block lies.
    """

    base: np.ndarray
    experts: tuple[np.ndarray, ...]
    context: Place

    @classmethod
    def of(cls, base: np.ndarray, experts: Sequence[np.ndarray], context: Place) -> StoredBlock:
        """Return the block of bfloat16 tensors' bytes, uint8 (2 · length,); views where they align."""
        return cls(_aligned(base), tuple(map(_aligned, experts)), context)

    def word_key(self, task: int) -> np.ndarray | None:
        """Return the key from which a loop makes the words behind `Context.keep_mask` of a task's block."""
        start = self.context.offset
        return noise.word_key(self.context.stream(task), start, start + self.base.size)

    def merge(self, loop: Callable[..., Any], settings: Any, *, sparse: bool) -> MergedStored | None:
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
        left = kept if sparse else tasks[:, 1]
        tally.tasks = np.concatenate((tasks[:, :2], left[:, None], tasks[:, 2:]), axis=1)
        return MergedStored(out, tally)


def _aligned(raw: np.ndarray) -> np.ndarray:
    bits = np.require(raw.view(np.uint16), requirements="A")
    bits.flags.writeable = False  # as mapped files are: one compiled loop for all
    return bits


@dataclass(frozen=True)
class MergedStored:
    """A merged block, bfloat16 numbers as uint16 (length,), and what became of it."""

    weights: np.ndarray
    tally: Tally


@runtime_checkable
class MergesStored(Protocol):
    """A method that has a loop of its own for stored blocks."""

    def merge_stored(self, block: StoredBlock, weights: np.ndarray) -> MergedStored | None:
        """Merge a block; None where the settings have no loop, or a number is not finite.

        Args:
            block: what to merge.
            weights: the recipe's, float32, (n_tasks,).
        """


@runtime_checkable
class ObservesStored(Protocol):
    """A first pass that has a loop of its own for stored blocks."""

    def observe_stored(self, block: StoredBlock, weights: np.ndarray) -> Any | None:
        """Return the part of one piece, as `observe` does; None where `observe` is to be asked."""
