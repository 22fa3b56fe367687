"""Merging: reads task vectors block by block, has a method merge them, and streams the result to disk."""

import json
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from merging.blocks import BLOCK, Block, blocks
from merging.checkpoint import Checkpoint, TensorInfo
from merging.companions import copy_companions
from merging.compatible import check
from merging.dtypes import BY_CODE, BY_NAME, MERGED
from merging.method import Method, make
from merging.parallel import in_order, one_torch_thread_each
from merging.recipe import Recipe
from merging.staging import refuse_existing, staged
from merging.statistics import gather
from merging.task_vectors import TaskVectors
from merging.tied import without_duplicates
from merging.write import WeightsWriter
from results.errors import InputError


def merge(recipe: Recipe, out: Path, progress: bool = True, *, block_size: int = BLOCK) -> Path:
    """Merge as a recipe says and write the merged checkpoint.

    θ = θ₀ + merged delta, in float32, rounded to nearest into the output dtype. One block of every expert is
    in memory at a time (rows or a tensor where the method's scope asks for them). The result does not depend
    on block size, shards or the order of files. `merge.json` beside the weights says what was merged.

    Args:
        recipe: what to merge.
        out: folder to write; it must not exist, and appears only when it is complete.
        progress: show a progress bar on stderr, where that is a terminal.
        block_size: entries in a block.

    Returns:
        `out`.

    Raises:
        InputError: something about the recipe or a checkpoint is wrong; nothing is left behind.
    """
    started = time.monotonic()
    refuse_existing(out)
    method = make(recipe.method.name, recipe.method.settings)
    base = without_duplicates(Checkpoint.open(recipe.base))
    experts = {name: without_duplicates(Checkpoint.open(spec.path)) for name, spec in recipe.experts.items()}
    check(base, experts)
    vectors = TaskVectors(
        base,
        experts,
        weights=torch.tensor([spec.weight for spec in recipe.experts.values()], dtype=torch.float32),
        seed=recipe.seed,
        digests=tuple(expert.identity().weights for expert in experts.values()) if method.random else (),
    )
    with staged(out) as folder:
        with _progress(_entries(method, vectors), progress) as seen, one_torch_thread_each() as threads:
            statistics = gather(method, vectors, threads, seen)
            planned = [_output(base.info(name), recipe.output_dtype) for name in base.names]
            merged = partial(_merged, method, vectors, statistics)
            with WeightsWriter(folder, planned, recipe.max_shard_size) as writer, _hashing(vectors) as done:
                cuts = (
                    (t, block) for t in writer.order for block in blocks(t.shape, method.scope, block_size)
                )
                for (tensor, block), result in in_order(merged, cuts, threads):
                    writer.append(tensor.name, result)
                    seen(block.stop - block.start)
                    if block.stop == tensor.numel:
                        done(tensor.name)
        copy_companions(base, folder, recipe.output_dtype)
        record = _record(recipe, method, vectors, time.monotonic() - started)
        (folder / "merge.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return out


def _entries(method: Method, vectors: TaskVectors) -> int:
    """Return how many entries the first passes and the merge go over together."""
    floats = sum(vectors.base.info(name).numel for name in vectors.names)
    return sum(vectors.base.info(name).numel for name in vectors.base.names) + floats * len(
        method.first_passes()
    )


def _merged(
    method: Method, vectors: TaskVectors, statistics: Mapping[str, Any], cut: tuple[TensorInfo, Block]
) -> torch.Tensor:
    tensor, block = cut
    if tensor.dtype not in MERGED:
        return vectors.base.block(tensor.name, block.start, block.stop)
    deltas, context = vectors.read(tensor.name, block, statistics)
    return _rounded(context.base + method(deltas, vectors.weights, context), tensor)


def _output(info: TensorInfo, dtype: str | None) -> TensorInfo:
    if dtype is None or info.dtype not in MERGED:
        return info
    return TensorInfo(info.name, BY_NAME[dtype], info.shape)


def _rounded(result: torch.Tensor, tensor: TensorInfo) -> torch.Tensor:
    rounded = result.to(BY_CODE[tensor.dtype])
    if not all(bound.isfinite() for bound in torch.aminmax(rounded)):
        raise InputError(
            f"The merged tensor {tensor.name!r} does not fit into {tensor.dtype} (it holds NaN or infinity); "
            "choose output_dtype float32 or bfloat16, or a smaller scaling."
        )
    return rounded


def _record(recipe: Recipe, method: Method, vectors: TaskVectors, seconds: float) -> dict[str, Any]:
    resolved = recipe.model_dump(mode="json")
    resolved["method"] = {"name": recipe.method.name, **asdict(method)}  # type: ignore[call-overload]
    return {
        "recipe": resolved,
        "inputs": {
            "base": _input(vectors.base),
            "experts": {name: _input(expert) for name, expert in vectors.experts.items()},
        },
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in ("manyshot", "torch", "safetensors")},
        },
        "seconds": round(seconds, 3),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _input(checkpoint: Checkpoint) -> dict[str, str]:
    return {"folder": str(checkpoint.folder), **asdict(checkpoint.identity())}


@contextmanager
def _hashing(vectors: TaskVectors) -> Iterator[Callable[[str], None]]:
    """Give a function that hashes a tensor of every checkpoint in the background, for their digests.

    A tensor that was just merged still has its pages in memory, so each file is read from disk once.
    """
    checkpoints = (vectors.base, *vectors.experts.values())
    thread = ThreadPoolExecutor(1)

    def hash_everywhere(name: str) -> None:
        for checkpoint in checkpoints:
            thread.submit(checkpoint.hash, [name])

    try:
        yield hash_everywhere
    finally:
        # What is still waiting is hashed, on all cores, when the digests are asked for.
        thread.shutdown(cancel_futures=True)


@contextmanager
def _progress(entries: int, shown: bool) -> Iterator[Callable[[int], None]]:
    """Give a function that advances a bar on stderr by a number of entries."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("Merging"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not (shown and console.is_terminal)
    ) as bar:
        task = bar.add_task("", total=entries)
        yield lambda number: bar.advance(task, number)
