"""The first passes of a method: everything it must know of the whole model before it merges."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from merging.blocks import Block, blocks, map_in_order
from merging.journal import Journal
from merging.method import FirstPass, Method, Scope
from merging.task_vectors import TaskVectors

PIECE = 2**18
"""Entries that a pass sees at once. A constant, so that sums of floats never depend on how a merge is cut."""


def run_first_passes(
    method: Method, vectors: TaskVectors, journal: Journal, threads: int, seen: Callable[[str, int], None]
) -> dict[str, Any]:
    """Run a method's first passes in order and return their statistics by name.

    Args:
        method: whose passes to run.
        vectors: what they look at: every tensor of floats by name, each in pieces of `PIECE` entries.
        journal: where statistics are kept; those that it has are not gathered again.
        threads: how many pieces are looked at together.
        seen: called with the pass's name and the number of entries after each piece.
    """
    statistics: dict[str, Any] = {}
    for title, first_pass in method.first_passes().items():
        if title in journal.statistics:
            seen(title, sum(vectors.base.info(name).numel for name in vectors.names))
        else:
            total = first_pass.start(len(vectors.experts))
            observe = partial(_observe, first_pass, vectors, statistics)
            for (_, block), part in map_in_order(observe, pieces(vectors), threads):
                total = first_pass.combine(total, part)
                seen(title, block.stop - block.start)
            journal.add_statistic(title, first_pass.finish(total))
        # As the journal has it, so that a resumed merge finds the same. A new mapping each time, so that a
        # context kept from an earlier pass does not change.
        statistics = {**statistics, title: journal.statistics[title]}
    return statistics


def _observe(
    first_pass: FirstPass, vectors: TaskVectors, statistics: dict[str, Any], piece: tuple[str, Block]
) -> Any:
    deltas, context = vectors.read(*piece, statistics)
    return first_pass.observe(deltas, vectors.weights, context)


def pieces(vectors: TaskVectors) -> Iterator[tuple[str, Block]]:
    """Yield every tensor of floats by name, in pieces of `PIECE` entries."""
    for name in vectors.names:
        for block in blocks(vectors.base.info(name).shape, Scope.ELEMENT, PIECE):
            yield name, block
