"""Supervised fine-tuning of a whole checkpoint: prompts and completions in, a checkpoint folder out.

An expert is a base after ``train``; so is a base that starts from freshly initialised weights. Weights are
held and written in float32. The output folder appears only when it is complete, and ``training.json`` in it
says how it was made.
"""

import hashlib
import json
import math
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
import transformers
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import (
    AutoConfig,
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
VOCABULARY_FILES = (
    "sentencepiece.bpe.model",
    "spiece.model",
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
)
"""Without one of these, transformers makes an empty tokenizer for some models."""
SCHEDULES = (
    "linear",
    "cosine",
    "cosine_with_restarts",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
)
"""Those of transformers' schedules that need no settings of their own, nor a step after the warmup."""
Loss = Literal["completion", "text"]


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
        schedule: one of ``SCHEDULES``.
        weight_decay: AdamW's decoupled weight decay.
        loss: mean token loss over the "completion" only, or over the whole "text".
        max_length: tokens after which an example is cut.
        seed: seed of the order of the examples and of dropout.
        bf16: compute in bfloat16 where autocast does so; weights stay in float32.
        group_by_length: put examples of similar length in one batch, which saves padding.
        cpu: train on the CPU even where there is an accelerator.

    Raises:
        InputError: a setting is out of its range.
    """

    epochs: float = 1
    max_steps: int | None = None
    batch_size: int = 8
    learning_rate: float = 3e-4
    warmup_ratio: float = 0.03
    schedule: str = "cosine"
    weight_decay: float = 0.0
    loss: Loss = "completion"
    max_length: int = 512
    seed: int = 0
    bf16: bool = False
    group_by_length: bool = True
    cpu: bool = False

    def __post_init__(self) -> None:
        for name, (holds, expected) in _EXPECTED.items():
            value = getattr(self, name)
            if not holds(value):
                raise InputError(f"The training setting {name} is {value!r}; {expected} is expected.")


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


_EXPECTED: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "epochs": (lambda value: _number(value) and value > 0, "a number above 0"),
    "max_steps": (lambda value: value is None or _whole(value, 1), "a whole number from 1 on, or None,"),
    "batch_size": (lambda value: _whole(value, 1), "a whole number from 1 on"),
    "learning_rate": (lambda value: _number(value) and value > 0, "a number above 0"),
    "warmup_ratio": (lambda value: _number(value) and 0 <= value <= 1, "a number from 0 to 1"),
    "schedule": (lambda value: value in SCHEDULES, f"one of {', '.join(SCHEDULES)}"),
    "weight_decay": (lambda value: _number(value) and value >= 0, "a number from 0 on"),
    "loss": (lambda value: value in get_args(Loss), f"one of {', '.join(get_args(Loss))}"),
    "max_length": (lambda value: _whole(value, 2), "a whole number from 2 on"),
    "seed": (lambda value: _whole(value, 0) and value < 2**32, "a whole number from 0 to 2**32 - 1"),
}


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
        InputError: ``out`` exists, ``base`` is not a whole checkpoint of a decoder with its tokenizer, or no
            example has a token to learn.
    """
    refuse_existing(out)
    checkpoint = Checkpoint.open(base)
    _refuse_encoder_decoder(checkpoint.folder)
    tokenizer = _tokenizer(checkpoint.folder)
    encoded = [encode(tokenizer, example, settings) for example in examples]
    kept = [row for row in encoded if any(label != IGNORED for label in row["labels"][1:])]
    if not kept:
        raise InputError(
            f"{base}: none of the {len(examples)} examples has a token to learn within "
            f"{settings.max_length} tokens; raise max_length"
        )
    model = _model(checkpoint.folder)
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


def _refuse_encoder_decoder(folder: Path) -> None:
    with _loading(folder, "configuration"):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    if config.is_encoder_decoder:
        raise InputError(
            f"{folder} is an encoder-decoder model ({config.model_type}); name a decoder-only one, "
            "encoder-decoders cannot be trained."
        )


def _tokenizer(folder: Path) -> Any:
    if not any((folder / name).is_file() for name in VOCABULARY_FILES):
        raise InputError(
            f"{folder} has no tokenizer; one of {', '.join(VOCABULARY_FILES)} is expected in it."
        )
    with _loading(folder, "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    if tokenizer.eos_token_id is None:
        raise InputError(f"{folder}: the tokenizer names no end-of-sequence token, which ends every example.")
    return tokenizer


def _model(folder: Path) -> Any:
    with without_file_bars(), _loading(folder, "model"):
        model, found = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=torch.float32,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # so that they are named below
        )
    # transformers would go on with random numbers in their place.
    for name in sorted(found["missing_keys"]):
        raise InputError(f"{folder}: the weights lack the tensor {name!r}; copy or download the model again.")
    for name, stored, expected in sorted(found["mismatched_keys"]):
        raise InputError(
            f"{folder}: tensor {name!r} has the shape {tuple(stored)}, but config.json asks for "
            f"{tuple(expected)}; copy or download the model again."
        )
    return model


@contextmanager
def _loading(folder: Path, part: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, LookupError, ImportError) as error:
        reason = (str(error).strip().splitlines() or ["no reason given"])[0].rstrip(".: ")
        raise InputError(
            f"{folder}: its {part} cannot be loaded ({type(error).__name__}: {reason})."
        ) from error


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
    steps = settings.max_steps
    if steps is None:
        steps = max(1, round(settings.epochs * steps_per_epoch))
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
            dataloader_pin_memory=torch.cuda.is_available() and not settings.cpu,
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
