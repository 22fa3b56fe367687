"""Merging: the whole way from a recipe to a merged checkpoint with its report."""

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from merging.blocks import one_torch_thread_each
from merging.checkpoints.tokenizer_files import write_chat_template
from merging.companions import copy_companions
from merging.factors import write_companions
from merging.journal import JOURNAL, Journal
from merging.memory import AddedMemory
from merging.merge_blocks import merge_blocks, run_first_passes
from merging.merge_report import Clock, report
from merging.model_card import model_card
from merging.prepare import Prepared, prepare
from merging.recipe import Recipe
from merging.sources import agreed_metadata
from merging.staging import refuse_existing, resumable
from merging.write import WeightsWriter, are_there

logger = logging.getLogger("manyshot.merging")


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
            is resumed when the same is merged again.
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
        Journal(folder / JOURNAL) as journal,
        AddedMemory() as memory,
        _progress(prepared, progress) as advance,
        one_torch_thread_each(),
    ):
        resumed = _resumed(journal, prepared, folder, out)
        if prepared.method.random:
            with clock.phase("digests"):
                prepared = prepared.with_digests()
        with clock.phase("first passes"):
            statistics = [
                run_first_passes(group, prepared.vectors, journal, prepared.threads, advance, place=place)
                for place, group in enumerate(prepared.groups)
            ]
        with clock.phase("merge"), WeightsWriter(folder, prepared.shards) as writer:
            tallies = merge_blocks(prepared, statistics, writer, journal, advance)
        with clock.phase("digests"):
            for checkpoint in prepared.checkpoints:
                checkpoint.identity()
        if recipe.space == "factors":
            write_companions(next(iter(prepared.vectors.experts.values())), folder)
        else:
            copy_companions(prepared.vectors.base, folder, recipe.output_dtype, prepared.vocabulary)
        if prepared.chat_template is not None:
            write_chat_template(prepared.chat_template, folder)
        content = report(prepared, tallies, clock, resumed, memory.bytes)
        (folder / "merge.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        card = model_card(content, agreed_metadata(prepared.checkpoints))
        (folder / "README.md").write_text(card, encoding="utf-8")
        (folder / JOURNAL).unlink()
    if progress:
        for notice in content["notices"]:
            logger.warning("%s: %s", out, notice)
    return out


def _resumed(journal: Journal, prepared: Prepared, folder: Path, out: Path) -> bool:
    """Return whether a merge that was stopped is resumed; without its files nothing of it is written."""
    if not (journal.progress or journal.statistics):
        return False
    logger.info("resuming the merge into %s, which was stopped", out)
    if journal.progress and not are_there(folder, prepared.shards):
        journal.forget_progress()
    return True


def _entries(prepared: Prepared) -> int:
    base = prepared.vectors.base
    floats = sum(base.info(name).numel for name in prepared.vectors.names)
    return sum(base.info(name).numel for name in base.names) + floats * len(prepared.passes)


@contextmanager
def _progress(prepared: Prepared, visible: bool) -> Iterator[Callable[[str, int], None]]:
    """Give a function that advances a bar on stderr, by the name of the phase and a number of entries."""
    forced = not {"FORCE_COLOR", "TTY_COMPATIBLE"}.isdisjoint(os.environ)
    if not visible or not (sys.stderr.isatty() or forced):  # where rich, which takes time, would find none
        yield lambda phase, number: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=_entries(prepared))
        yield lambda phase, number: bar.update(task, description=phase.capitalize(), advance=number)
