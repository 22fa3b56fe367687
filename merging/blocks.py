"""How a tensor is cut into the blocks that a method sees."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from merging.method import Scope

BLOCK = 2**18
"""Entries in a block of an element method: large enough to keep threads busy, small enough for the cache."""
BLOCK_ON_DEVICE = 2**24
"""The same on an accelerator, where a block must outweigh the start of each operation."""


@dataclass(frozen=True)
class Block:
    """The entries `start` to `stop` of a flattened tensor, and the shape in which a method sees them."""

    start: int
    stop: int
    shape: tuple[int, ...]


def blocks(shape: tuple[int, ...], scope: Scope, size: int = BLOCK) -> Iterator[Block]:
    """Yield the blocks of a tensor in order; a tensor without entries has none.

    Args:
        shape: the tensor's shape.
        scope: `element` blocks have `size` entries, `row` blocks as many whole rows as fit into `size` (at
            least one), a `tensor` block is the tensor.
        size: entries in a block.
    """
    total = prod(shape)
    if total == 0:
        return
    if scope is Scope.TENSOR:
        yield Block(0, total, shape)
        return
    length = shape[-1] if shape and scope is Scope.ROW else 1
    step = max(size // length, 1) * length
    for start in range(0, total, step):
        stop = min(start + step, total)
        cut = (stop - start,) if scope is Scope.ELEMENT else ((stop - start) // length, length)
        yield Block(start, stop, cut)
