"""How tensors are cut into the blocks that a method sees, and how blocks are spread over threads."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import TypeVar

from merging.checkpoints.when_used import no_longer, torch, when_imported
from merging.method import Scope

Item = TypeVar("Item")
Result = TypeVar("Result")

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


@contextmanager
def one_torch_thread_each() -> Iterator[None]:
    """Have torch use one thread of its own in every thread that is started meanwhile.

    Blocks are independent, so a thread per block beats threads that meet after every operation on one; on a
    busy machine by far. Where torch is not imported it is so as soon as something is.
    """
    before: list[int] = []

    def limit() -> None:
        before.append(torch.get_num_threads())
        torch.set_num_threads(1)

    when_imported(limit)
    try:
        yield
    finally:
        no_longer(limit)
        for threads in before:
            torch.set_num_threads(threads)


def usual_threads() -> int:
    """Return how many threads torch takes; before its import OMP_NUM_THREADS, and no more than cores."""
    if "torch" in sys.modules:
        return torch.get_num_threads()
    said = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return min(int(said) if said.isdecimal() and int(said) else cores(), cores())


def cores() -> int:
    """Return how many cores the process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_in_order(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> Iterator[tuple[Item, Result]]:
    """Yield every item with its result, in the order of the items.

    Args:
        work: called with one item, on one of the threads.
        items: taken only a few ahead of what was yielded, so that few results are held.
        threads: how many items are worked on at once.
    """
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append((item, pool.submit(work, item)))
                if len(waiting) > threads:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            for _, future in waiting:
                future.cancel()
