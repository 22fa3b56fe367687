"""The loop of a training, by transformers' Trainer: it shows how far it is, saves itself, and resumes."""

import math
import os
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.integrations import TensorBoardCallback

from merging.batches import collate, needs_only_learned
from merging.staging import SAVES
from merging.train_settings import TrainSettings
from results.errors import InputError
from results.trackers import check_trackers, project, training_run

LOSS_POINTS = 100
"""Points of the loss curve in ``training.json``, at most."""


def optimise(
    model: Any,
    rows: list[dict[str, list[int]]],
    settings: TrainSettings,
    *,
    padding: int,
    folder: Path,
    title: str,
) -> list[list[float]]:
    """Train a model in place, from the last save in a folder; return the loss curve."""
    steps = settings.max_steps
    if steps is None:
        steps = max(1, round(settings.epochs * -(-len(rows) // settings.batch_size)))
    own_order = settings.order == "own"
    if own_order:
        order = reading_order([len(row["input_ids"]) for row in rows], steps, settings)
        rows = [rows[i] for i in order]
    arguments = TrainingArguments(
        output_dir=str(folder / SAVES),
        max_steps=steps,
        per_device_train_batch_size=_examples_at_once(settings),
        gradient_accumulation_steps=settings.accumulation,
        learning_rate=settings.learning_rate,
        warmup_steps=round(settings.warmup_ratio * steps),
        lr_scheduler_type=settings.schedule,
        weight_decay=settings.weight_decay,
        optim="adamw_torch_fused",
        train_sampling_strategy="sequential" if own_order else "random",
        seed=settings.seed,
        data_seed=settings.seed,
        bf16=_has_bf16(settings) if settings.bf16 is None else settings.bf16,
        # Only so does the Trainer take bf16 on a machine without an accelerator.
        use_cpu=settings.cpu or not torch.accelerator.is_available(),
        logging_steps=-(-steps // LOSS_POINTS),
        logging_nan_inf_filter=False,
        save_strategy="no",
        save_total_limit=1,
        run_name=title,
        **_reporting(settings),
        disable_tqdm=True,
        dataloader_num_workers=0,
        dataloader_pin_memory=torch.cuda.is_available() and not settings.cpu,
        remove_unused_columns=False,
    )
    _on_one_device(arguments)
    learned_only = needs_only_learned(model, rows[0])
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=rows,
        data_collator=lambda batch: collate(batch, padding, learned_only=learned_only),
    )
    trainer.remove_callback(PrinterCallback)
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, TensorBoardCallback) and callback.logging_dir is None:
            # Not among the saves, which are gone in the end.
            callback.logging_dir = str(Path("runs") / title)
    with _progress() as bar, training_run(settings.report_to):
        trainer.add_callback(_Watch(bar, title, settings.save_seconds))
        trainer.train(resume_from_checkpoint=_last_save(folder / SAVES))
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return [[entry["step"], entry["loss"]] for entry in trainer.state.log_history if "loss" in entry]


def is_main() -> bool:
    """Whether this is the first of the processes that train together under ``accelerate launch``."""
    return os.environ.get("RANK", "0") == "0"


def _reporting(settings: TrainSettings) -> dict[str, Any]:
    """Return which trackers the Trainer reports to; Trackio makes no space on the hub that was not asked for.

    Raises:
        InputError: one is not installed.
    """
    check_trackers(settings.report_to)
    arguments: dict[str, Any] = {"report_to": list(settings.report_to) or "none"}
    if settings.report_to:
        named = project()
        if "trackio" in settings.report_to:
            arguments |= {"project": named, "trackio_static_space_id": False, "hub_private_repo": True}
    return arguments


def _on_one_device(arguments: TrainingArguments) -> None:
    """Keep a process to one GPU: over several the Trainer would split a batch that it makes larger first.

    Several GPUs are several processes' under ``accelerate launch``.
    """
    if arguments.n_gpu > 1:  # asking finds the devices, which would otherwise be counted again
        arguments._n_gpu = 1


def reading_order(lengths: Sequence[int], steps: int, settings: TrainSettings) -> list[int]:
    """Return which example comes when, for all steps: every epoch has an order of its own, drawn by the seed.

    An epoch is filled up to whole batches with the examples that it began with. Where lengths are grouped,
    fifty batches at a time are sorted by length, and then shuffled as batches.
    """
    order: list[int] = []
    size = settings.batch_size
    for epoch in count(settings.first_epoch):
        if len(order) >= steps * size:
            return order[: steps * size]
        random = np.random.default_rng([settings.seed, epoch])
        drawn = np.resize(random.permutation(len(lengths)), -(-len(lengths) // size) * size)
        if settings.group_by_length:
            batches = []
            for start in range(0, len(drawn), 50 * size):
                stretch = sorted(drawn[start : start + 50 * size].tolist(), key=lambda i: -lengths[i])
                batches += [stretch[i : i + size] for i in range(0, len(stretch), size)]
            drawn = np.concatenate([batches[i] for i in random.permutation(len(batches))])
        order += drawn.tolist()
    raise AssertionError


def _examples_at_once(settings: TrainSettings) -> int:
    parts = settings.accumulation * int(os.environ.get("WORLD_SIZE", "1"))
    if settings.batch_size % parts:
        raise InputError(
            f"A batch of {settings.batch_size} examples cannot be computed in {parts} equal parts "
            "(accumulation times devices); change batch_size or accumulation."
        )
    return settings.batch_size // parts


def _has_bf16(settings: TrainSettings) -> bool:
    return not settings.cpu and torch.cuda.is_available() and torch.cuda.is_bf16_supported()


def _last_save(folder: Path) -> str | None:
    """The newest save that is whole: its state is written last."""
    saves = [path.parent for path in folder.glob("checkpoint-*/trainer_state.json") if path.stat().st_size]
    return str(max(saves, key=lambda save: int(save.name.rpartition("-")[2]))) if saves else None


class _Watch(TrainerCallback):
    """Moves a bar with the steps, saves the training now and then, and stops one whose loss is no number."""

    def __init__(self, bar: Progress, title: str, seconds: float) -> None:
        self._bar, self._line = bar, bar.add_task(title, total=None, loss="")
        self._seconds, self._last_save = seconds, time.monotonic()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Learn the number of steps."""
        self._bar.update(self._line, total=state.max_steps)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Move on by a step, and ask for a save where it is time for one and there is more to do."""
        self._bar.advance(self._line)
        if time.monotonic() - self._last_save >= self._seconds and state.global_step < state.max_steps:
            control.should_save = True
            self._last_save = time.monotonic()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Look at the loss that was logged; at the end that is the mean over all steps."""
        logs = logs or {}
        loss = float(logs.get("loss", logs.get("train_loss", 0.0)))
        if not math.isfinite(loss):
            raise InputError(
                f"The loss of the training is {loss} at step {state.global_step} of "
                f"{state.max_steps}; lower the learning rate, or look for broken weights or examples."
            )
        if "loss" in logs:
            self._bar.update(self._line, loss=f"loss {loss:.3f}")


def _progress() -> Progress:
    """A bar on stderr with an estimate of the time left, where that is a terminal."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("training {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[loss]}"),
        console=console,
        disable=not console.is_terminal,
    )
