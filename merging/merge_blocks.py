"""The passes over the task vectors: a method's first passes, then the merge block by block.

A block of the merge is read, merged by the method, rounded, written and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from merging.arithmetic import add_rounded
from merging.blocks import Block, map_in_order
from merging.checkpoints.checkpoint import TensorInfo
from merging.checkpoints.dtypes import FLOATS, torch_dtype
from merging.checkpoints.when_used import torch
from merging.groups import Group
from merging.journal import Journal
from merging.method import Context, FirstPass, MergedBlock, Method
from merging.method_file import source_of
from merging.prepare import Prepared
from merging.stored_block import MergesStored, ObservesStored
from merging.tally import Tally, tally
from merging.task_vectors import TaskVectors
from merging.write import BlockWriter
from results.errors import InputError

_JOURNALED_AT_LEAST = 2**24
"""Entries of a tensor after which the journal says how far it is."""


def run_first_passes(
    group: Group,
    vectors: TaskVectors,
    journal: Journal,
    threads: int,
    seen: Callable[[str, int], None],
    *,
    place: int = 0,
) -> dict[str, Any]:
    """Run the first passes of a group's method in order and return their statistics by name.

    Args:
        group: the method whose passes to run, the weights, and the tensors that they look at, each in pieces
            of `PIECE` entries.
        vectors: of all tensors.
        journal: where statistics are kept; those that it has are not gathered again.
        threads: how many pieces are looked at together.
        seen: called with the pass's name and the number of entries after each piece.
        place: which group it is, by which the journal tells them apart.
    """
    statistics: dict[str, Any] = {}
    for title, first_pass in group.method.first_passes().items():
        noted = f"{title}, group {place}" if place else title
        if noted in journal.statistics:
            seen(title, sum(vectors.base.info(name).numel for name in group.names))
        else:
            total = first_pass.start(len(vectors.experts))
            observe = partial(_observe, first_pass, group, vectors, statistics)
            with _users_errors_named(group.method, f"First pass {title!r}"):
                for (_, block), part in map_in_order(observe, vectors.pieces(group.names), threads):
                    total = first_pass.combine(total, part)
                    seen(title, block.stop - block.start)
                journal.add_statistic(noted, first_pass.finish(total))
        # As the journal has it, so that a resumed merge finds the same. A new mapping each time, so that a
        # context kept from an earlier pass does not change.
        statistics = {**statistics, title: journal.statistics[noted]}
    return statistics


def _observe(
    first_pass: FirstPass,
    group: Group,
    vectors: TaskVectors,
    statistics: dict[str, Any],
    piece: tuple[str, Block],
) -> Any:
    if isinstance(first_pass, ObservesStored):
        stored = vectors.stored_block(*piece, statistics)
        part = None if stored is None else first_pass.observe_stored(stored, group.weights)
        if part is not None:
            return part
    deltas, context = vectors.read(*piece, statistics)
    return first_pass.observe(deltas, group.weights_on(deltas.device), context)


def merge_blocks(
    prepared: Prepared,
    statistics: Sequence[Mapping[str, Any]],
    writer: BlockWriter,
    journal: Journal,
    advance: Callable[[str, int], None],
) -> dict[str, Tally]:
    """Merge and write every block that the journal does not have.

    Args:
        prepared: the merge.
        statistics: what the first passes found, of each group.
        writer: takes the merged blocks.
        journal: keeps how far each tensor is.
        advance: called with what is done and a number of entries, after each block.

    Returns:
        What became of each tensor, by name.
    """
    n_tasks = len(prepared.vectors.experts)
    tallies = {name: Tally.from_json(noted) for name, (_, noted) in journal.progress.items()}
    journaled = {name: stop for name, (stop, _) in journal.progress.items()}
    with _hashing(prepared) as hash_everywhere:
        work = partial(_merge_block, prepared, statistics, writer)
        left = _announced(
            (cut for cut in prepared.output_blocks() if cut[1].stop > journaled.get(cut[0].name, 0)),
            hash_everywhere,
        )
        advance("Merging", sum(journaled.values()))
        for (tensor, block), part in map_in_order(work, left, prepared.threads):
            total = tallies.setdefault(tensor.name, Tally.empty(n_tasks))
            total.add(part)
            advance("Merging", block.stop - block.start)
            whole = block.stop == tensor.numel
            if whole or block.stop - journaled.get(tensor.name, 0) >= _JOURNALED_AT_LEAST:
                journal.add_progress(tensor.name, block.stop, total.to_json())
                journaled[tensor.name] = block.stop
        writer.write_index()
    return {name: tallies[name] for name in prepared.vectors.names if name in tallies}


def _announced(
    cuts: Iterator[tuple[TensorInfo, Block]], begins: Callable[[str], None]
) -> Iterator[tuple[TensorInfo, Block]]:
    """Yield blocks, and say before the first of each tensor that it begins."""
    name = None
    for tensor, block in cuts:
        if tensor.name != name:
            name = tensor.name
            begins(name)
        yield tensor, block


def _merge_block(
    prepared: Prepared,
    statistics: Sequence[Mapping[str, Any]],
    writer: BlockWriter,
    cut: tuple[TensorInfo, Block],
) -> Tally:
    tensor, block = cut
    vectors = prepared.vectors
    if tensor.dtype not in FLOATS:
        writer.write_raw(tensor.name, block.start, vectors.base.raw(tensor.name, block.start, block.stop))
        return Tally.empty(len(vectors.experts))
    place = prepared.group_of[tensor.name]
    group = prepared.groups[place]
    where = f"Method {prepared.recipe.method.name!r}, tensor {tensor.name!r}"
    if isinstance(group.method, MergesStored) and tensor.dtype == "BF16":
        stored = vectors.stored_block(tensor.name, block, statistics[place])
        with _users_errors_named(group.method, where):
            done = None if stored is None else group.method.merge_stored(stored, group.weights)
        if done is not None:
            writer.write_raw(tensor.name, block.start, done.weights.view(np.uint8))
            return done.tally
    deltas, context = vectors.read(tensor.name, block, statistics[place])
    merged = _by_method(group, deltas, context, where)
    rounded = add_rounded(context.base, merged.delta, torch_dtype(tensor.dtype))
    if not rounded.is_finite:
        raise InputError(
            f"The merged tensor {tensor.name!r} does not fit into {tensor.dtype} (it holds NaN or infinity); "
            "choose a wider output_dtype or a smaller scaling, and look for a division by zero in a method "
            "of your own."
        )
    writer.write(tensor.name, block.start, rounded.weights.cpu())
    return tally(deltas, merged, rounded.lost)


@contextmanager
def _users_errors_named(method: Method, where: str) -> Iterator[None]:
    """Make an InputError of an error in a user's own method."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if source_of(type(method)) is None:
            raise
        raise InputError(f"{where}: {type(error).__name__}: {' '.join(str(error).split())}") from error


def _by_method(group: Group, deltas: torch.Tensor, context: Context, where: str) -> MergedBlock:
    """Have the method merge a block."""
    with _users_errors_named(group.method, where):
        merged = group.method(deltas, group.weights_on(deltas.device), context)
    block = merged if isinstance(merged, MergedBlock) else MergedBlock(merged)
    delta: object = block.delta
    if not isinstance(delta, torch.Tensor) or delta.shape != context.base.shape:
        found = tuple(delta.shape) if isinstance(delta, torch.Tensor) else type(delta).__name__
        raise InputError(
            f"{where}: it returned {found}, and a tensor of the shape {tuple(context.base.shape)} is "
            f"expected: one task's block of deltas, which are {tuple(deltas.shape)}."
        )
    return block


@contextmanager
def _hashing(prepared: Prepared) -> Iterator[Callable[[str], None]]:
    """Give a function that hashes a tensor of every checkpoint in the background, for their digests.

    A tensor that is merged meanwhile has its pages in memory, so each file is read from disk once.
    """
    thread = ThreadPoolExecutor(1)

    def hash_everywhere(name: str) -> None:
        for checkpoint in prepared.checkpoints:
            thread.submit(checkpoint.hash, [name])

    try:
        yield hash_everywhere
    finally:
        # What is still waiting is hashed, on all cores, when the digests are asked for.
        thread.shutdown(cancel_futures=True)
