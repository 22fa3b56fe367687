"""Merging: reads task vectors block by block, has a method merge them, and streams the result to disk."""

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from merging.blocks import Block
from merging.card import model_card
from merging.checkpoints.checkpoint import TensorInfo
from merging.checkpoints.dtypes import BY_CODE, FLOATS
from merging.companions import copy_companions
from merging.factors import write_companions
from merging.journal import Journal
from merging.linear import Linear, merge_bfloat16
from merging.memory import AddedMemory
from merging.method import Context, MergedBlock
from merging.method_file import source_of
from merging.parallel import in_order, one_torch_thread_each
from merging.prepare import Prepared, prepare
from merging.recipe import Recipe
from merging.report import Clock, report
from merging.rounding import add_rounded
from merging.staging import refuse_existing, resumable
from merging.statistics import gather
from merging.tally import Tally, tally
from merging.write import WeightsWriter, are_there
from results.errors import InputError

logger = logging.getLogger("manyshot.merging")
JOURNAL = "journal.jsonl"
_JOURNALED_AT_LEAST = 2**24
"""Entries of a tensor after which the journal says how far it is."""

_Seen = Callable[[str, int], None]


def merge(
    recipe: Recipe,
    out: Path,
    progress: bool = True,
    *,
    device: str = "cpu",
    block_size: int | None = None,
) -> Path:
    """Merge as a recipe says and write the merged checkpoint.

    θ = θ₀ + merged delta, in float32, rounded to nearest into the output dtype. A few blocks of every expert
    are in memory at a time (rows or a tensor where the method's scope asks for them). The weights do not
    depend on block size, shards, threads, or the order of files and experts. Beside them are `merge.json`,
    which says what was merged and what became of it, and a model card.

    Args:
        recipe: what to merge.
        out: folder to write; it must not exist, and appears only when it is complete. A merge that was killed
            is gone on with when the same is asked for again.
        progress: log the notices of the report, and show a progress bar on stderr where that is a terminal.
        device: where to compute: `cpu`, `cuda`, …
        block_size: entries in a block; None takes what suits the device.

    Returns:
        `out`.

    Raises:
        InputError: something about the recipe or a checkpoint is wrong; nothing is left behind.
    """
    clock = Clock()
    refuse_existing(out)
    with clock.phase("open"):
        prepared = prepare(recipe, device, block_size)
    with (
        resumable(out, prepared.key()) as folder,
        AddedMemory() as memory,
        _progress(_entries(prepared), progress) as seen,
        one_torch_thread_each(),
    ):
        if prepared.method.random:
            with clock.phase("digests"):
                prepared = _with_digests(prepared)
        with Journal(folder / JOURNAL) as journal:
            resumed = bool(journal.progress or journal.statistics)
            if resumed:
                logger.info("going on with a merge to %s that was stopped", out)
            if journal.progress and not are_there(folder, prepared.shards):
                journal.forget_progress()
            with clock.phase("first passes"):
                statistics = gather(prepared.method, prepared.vectors, journal, prepared.threads, seen)
            with clock.phase("merge"):
                tallies = _merge_blocks(prepared, statistics, folder, journal, seen)
        with clock.phase("digests"):
            for checkpoint in prepared.checkpoints:
                checkpoint.identity()
        if recipe.space == "factors":
            write_companions(next(iter(prepared.vectors.experts.values())), folder)
        else:
            copy_companions(prepared.vectors.base, folder, recipe.output_dtype)
        content = report(prepared, tallies, clock, resumed, memory.bytes)
        (folder / "merge.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        (folder / "README.md").write_text(model_card(content), encoding="utf-8")
        (folder / JOURNAL).unlink()
    if progress:
        for notice in content["notices"]:
            logger.warning("%s: %s", out, notice)
    return out


def _with_digests(prepared: Prepared) -> Prepared:
    experts = prepared.vectors.experts.values()
    digests = tuple(expert.identity().weights for expert in experts)
    return replace(prepared, vectors=replace(prepared.vectors, digests=digests))


def _merge_blocks(
    prepared: Prepared,
    statistics: Mapping[str, Any],
    folder: Path,
    journal: Journal,
    seen: _Seen,
) -> dict[str, Tally]:
    """Merge and write every block that the journal does not have, and return what became of each tensor."""
    n_tasks = len(prepared.vectors.experts)
    tallies = {name: Tally.from_json(noted) for name, (_, noted) in journal.progress.items()}
    journaled = {name: stop for name, (stop, _) in journal.progress.items()}
    with WeightsWriter(folder, prepared.shards) as writer, _hashing(prepared) as hash_everywhere:
        work = partial(_merge_block, prepared, statistics, writer)
        left = (cut for cut in prepared.cuts() if cut[1].stop > journaled.get(cut[0].name, 0))
        seen("Merging", sum(journaled.values()))
        for (tensor, block), part in in_order(work, left, prepared.threads):
            total = tallies.setdefault(tensor.name, Tally.empty(n_tasks))
            total.add(part)
            seen("Merging", block.stop - block.start)
            whole = block.stop == tensor.numel
            if whole or block.stop - journaled.get(tensor.name, 0) >= _JOURNALED_AT_LEAST:
                journal.add_progress(tensor.name, block.stop, total.to_json())
                journaled[tensor.name] = block.stop
            if whole:
                hash_everywhere(tensor.name)
        writer.write_index()
    return {name: tallies[name] for name in prepared.vectors.names if name in tallies}


def _merge_block(
    prepared: Prepared, statistics: Mapping[str, Any], writer: WeightsWriter, cut: tuple[TensorInfo, Block]
) -> Tally:
    tensor, block = cut
    vectors = prepared.vectors
    if tensor.dtype not in FLOATS:
        copied = vectors.base.block(tensor.name, block.start, block.stop)
        writer.write(tensor.name, block.start, copied)
        return Tally.empty(len(vectors.experts))
    if isinstance(prepared.method, Linear) and vectors.are_bfloat16(tensor.name) and tensor.dtype == "BF16":
        coefficients = prepared.method.coefficients(vectors.weights)
        done = merge_bfloat16(*vectors.blocks(tensor.name, block), coefficients)
        if done is not None:
            writer.write(tensor.name, block.start, done[0])
            return done[1]
    deltas, context = vectors.read(tensor.name, block, statistics)
    merged = _by_method(prepared, deltas, context)
    rounded = add_rounded(context.base, merged.delta, BY_CODE[tensor.dtype])
    if not rounded.is_finite:
        raise InputError(
            f"The merged tensor {tensor.name!r} does not fit into {tensor.dtype} (it holds NaN or infinity); "
            "choose a wider output_dtype or a smaller scaling, and look for a division by zero in a method "
            "of your own."
        )
    writer.write(tensor.name, block.start, rounded.weights.cpu())
    return tally(deltas, merged, rounded.lost)


def _by_method(prepared: Prepared, deltas: torch.Tensor, context: Context) -> MergedBlock:
    """Have the method merge a block; what a user's own method does wrong is said in a sentence."""
    method, name = prepared.method, prepared.recipe.method.name
    where = f"Method {name!r}, tensor {context.tensor!r}"
    try:
        merged = method(deltas, prepared.vectors.weights, context)
    except InputError:
        raise
    except Exception as error:
        if source_of(type(method)) is None:
            raise
        raise InputError(f"{where}: {type(error).__name__}: {' '.join(str(error).split())}") from error
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

    A tensor that was just merged still has its pages in memory, so each file is read from disk once.
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


def _entries(prepared: Prepared) -> int:
    """Return how many entries the first passes and the merge go over together."""
    base = prepared.vectors.base
    floats = sum(base.info(name).numel for name in prepared.vectors.names)
    return sum(base.info(name).numel for name in base.names) + floats * len(prepared.passes)


@contextmanager
def _progress(entries: int, shown: bool) -> Iterator[_Seen]:
    """Give a function that advances a bar on stderr, by the name of the phase and a number of entries."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not (shown and console.is_terminal)
    ) as bar:
        task = bar.add_task("", total=entries)
        yield lambda phase, number: bar.update(task, description=phase.capitalize(), advance=number)
