"""Supervised fine-tuning of a whole checkpoint: prompts and completions in, a checkpoint folder out.

An expert is a base after ``train``; so is a base that starts from freshly initialised weights. Weights are
held and written in float32. The output folder appears only when it is complete, and ``training.json`` in it
says how it was made.
"""

import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.utils import logging

from merging.checkpoint import Checkpoint
from merging.staging import refuse_existing, staged
from merging.tokenizer import TOKENIZER_FILES
from results.errors import InputError

IGNORED = -100
"""The label that the loss leaves out."""
LOSS_POINTS = 100
"""Points of the loss curve in ``training.json``, at most."""


@dataclass(frozen=True)
class Example:
    """A prompt and the completion to learn; the end-of-sequence token is added when training."""

    prompt: str
    completion: str


@dataclass(frozen=True)
class TrainSettings:
    """How a checkpoint is trained.

    Attributes:
        epochs: passes over the examples; ignored where ``max_steps`` is given.
        max_steps: optimiser steps, or None.
        batch_size: examples in a step.
        learning_rate: the highest learning rate of AdamW.
        warmup_ratio: share of the steps in which the learning rate rises.
        schedule: name of a transformers learning-rate schedule ("linear", "cosine", "constant", ...).
        weight_decay: AdamW's decoupled weight decay.
        loss: mean token loss over the "completion" only, or over the whole "text".
        max_length: tokens after which an example is cut.
        seed: seed of the order of the examples and of dropout.
        bf16: compute in bfloat16 where autocast does so; weights stay in float32.
        group_by_length: put examples of similar length in one batch, which saves padding.
        cpu: train on the CPU even where there is an accelerator.
    """

    epochs: float = 1
    max_steps: int | None = None
    batch_size: int = 8
    learning_rate: float = 3e-4
    warmup_ratio: float = 0.03
    schedule: str = "cosine"
    weight_decay: float = 0.0
    loss: Literal["completion", "text"] = "completion"
    max_length: int = 512
    seed: int = 0
    bf16: bool = False
    group_by_length: bool = True
    cpu: bool = False


def train(base: Path, examples: Sequence[Example], settings: TrainSettings, out: Path) -> Path:
    """Train every weight of a checkpoint on examples.

    Args:
        base: folder of the checkpoint to start from, with its tokenizer.
        examples: what to learn.
        settings: how.
        out: folder to make; it must not exist, and exists only once it is complete.

    Returns:
        ``out``.

    Raises:
        InputError: ``out`` exists, ``base`` is not a checkpoint folder, or no example has a token to learn.
    """
    refuse_existing(out)
    checkpoint = Checkpoint.open(base)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint.folder)
    encoded = [encode(tokenizer, example, settings) for example in examples]
    kept = [row for row in encoded if any(label != IGNORED for label in row["labels"][1:])]
    if not kept:
        raise InputError(
            f"{base}: none of the {len(examples)} examples has a token to learn within "
            f"{settings.max_length} tokens; raise max_length"
        )
    with without_file_bars():
        model = AutoModelForCausalLM.from_pretrained(checkpoint.folder, dtype=torch.float32)
    started = time.monotonic()
    curve = _optimise(model, kept, settings, padding=_padding(tokenizer), title=out.name)
    report = {
        "base": checkpoint.identity().digest,
        "examples": examples_digest(examples),
        "settings": asdict(settings),
        "used": len(kept),
        "left_out": len(encoded) - len(kept),
        "loss": curve,
        "seconds": round(time.monotonic() - started, 3),
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
    }
    with staged(out) as folder, without_file_bars():
        model.save_pretrained(folder)
        for name in TOKENIZER_FILES:
            if (checkpoint.folder / name).is_file():
                shutil.copyfile(checkpoint.folder / name, folder / name)
        (folder / "training.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return out


def examples_digest(examples: Sequence[Example]) -> str:
    """SHA-256 over the examples, in order."""
    text = json.dumps([[example.prompt, example.completion] for example in examples])
    return hashlib.sha256(text.encode()).hexdigest()


def encode(tokenizer: Any, example: Example, settings: TrainSettings) -> dict[str, list[int]]:
    """Token ids and labels of an example.

    Prompt and completion are tokenised together, and the completion begins after as many tokens as the prompt
    alone has: as lm-eval splits a context from its continuation.
    """
    end = tokenizer.eos_token_id
    ids = tokenizer(example.prompt + example.completion)["input_ids"]
    if not ids or ids[-1] != end:
        ids = [*ids, end]
    learned_from = 0
    if settings.loss == "completion" and example.prompt:
        prompt = tokenizer(example.prompt)["input_ids"]
        learned_from = len(prompt) - (prompt[-1] == end)
    labels = [IGNORED] * learned_from + ids[learned_from:]
    return {"input_ids": ids[: settings.max_length], "labels": labels[: settings.max_length]}


def collate(rows: Sequence[Mapping[str, list[int]]], padding: int) -> dict[str, torch.Tensor]:
    """Ids, attention mask and labels of a batch, shape (rows, tokens), padded on the right to the longest."""
    longest = max(len(row["input_ids"]) for row in rows)

    def padded(name: str, value: int) -> torch.Tensor:
        return torch.tensor([row[name] + [value] * (longest - len(row[name])) for row in rows])

    mask = torch.tensor(
        [[1] * len(row["input_ids"]) + [0] * (longest - len(row["input_ids"])) for row in rows]
    )
    return {
        "input_ids": padded("input_ids", padding),
        "attention_mask": mask,
        "labels": padded("labels", IGNORED),
    }


class _Steps(TrainerCallback):
    """Moves a bar with the steps of a training."""

    def __init__(self, bar: Progress, title: str) -> None:
        self.bar = bar
        self.line = bar.add_task(title, total=None, loss="")

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Learn the number of steps."""
        self.bar.update(self.line, total=state.max_steps)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Move on by a step."""
        self.bar.advance(self.line)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Show the loss."""
        if logs and "loss" in logs:
            self.bar.update(self.line, loss=f"loss {float(logs['loss']):.3f}")


def _progress() -> Progress:
    """A bar on stderr with an estimate of the time left."""
    return Progress(
        TextColumn("training {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[loss]}"),
        console=Console(stderr=True),
    )


@contextmanager
def without_file_bars() -> Iterator[None]:
    """Without transformers' own bars for the reading and writing of files."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _padding(tokenizer: Any) -> int:
    return tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id


def _optimise(
    model: Any, rows: list[dict[str, list[int]]], settings: TrainSettings, padding: int, title: str
) -> list[list[float]]:
    steps_per_epoch = -(-len(rows) // settings.batch_size)
    steps = settings.max_steps or max(1, round(settings.epochs * steps_per_epoch))
    with tempfile.TemporaryDirectory() as scratch:
        arguments = TrainingArguments(
            output_dir=scratch,
            max_steps=steps,
            per_device_train_batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            warmup_steps=round(settings.warmup_ratio * steps),
            lr_scheduler_type=settings.schedule,
            weight_decay=settings.weight_decay,
            optim="adamw_torch_fused",
            train_sampling_strategy="group_by_length" if settings.group_by_length else "random",
            seed=settings.seed,
            data_seed=settings.seed,
            bf16=settings.bf16,
            use_cpu=settings.cpu,
            logging_steps=-(-steps // LOSS_POINTS),
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            dataloader_num_workers=0,
            remove_unused_columns=False,
        )
        trainer = Trainer(
            model=model,
            args=arguments,
            train_dataset=rows,
            data_collator=lambda batch: collate(batch, padding),
        )
        trainer.remove_callback(PrinterCallback)
        with _progress() as bar:
            trainer.add_callback(_Steps(bar, title))
            trainer.train()
    return [[entry["step"], entry["loss"]] for entry in trainer.state.log_history if "loss" in entry]
