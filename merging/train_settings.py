"""How a checkpoint or an adapter is trained."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from results.errors import InputError

SCHEDULES = (
    "linear",
    "cosine",
    "cosine_with_restarts",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
)
"""Those of transformers' schedules that need no settings of their own, nor a step after the warmup."""
TRACKERS = ("tensorboard", "wandb", "mlflow")
"""Whom a training can report to."""
UNDECIDING = frozenset({"save_seconds", "report_to"})
"""Settings that what is trained does not depend on."""
Loss = Literal["completion", "text"]
Order = Literal["own", "trainer"]


@dataclass(frozen=True)
class AdapterSettings:
    """The LoRA adapter that is trained in place of all weights. The defaults are METIS's.

    Attributes:
        rank: r.
        alpha: α; what the factors' product is multiplied by is α/r.
        targets: names of the linear layers that get factors, or "all-linear".
        dropout: on what goes into the factors, while training.
    """

    rank: int = 16
    alpha: float = 16
    targets: tuple[str, ...] | str = ("q_proj", "k_proj", "v_proj", "o_proj")
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if not _whole(self.rank, 1):
            raise InputError(f"The adapter's rank is {self.rank!r}; a whole number from 1 on is expected.")
        if not (_number(self.alpha) and self.alpha > 0):
            raise InputError(f"The adapter's alpha is {self.alpha!r}; a number above 0 is expected.")
        if not (_number(self.dropout) and 0 <= self.dropout < 1):
            raise InputError(f"The adapter's dropout is {self.dropout!r}; at least 0, below 1 is expected.")


@dataclass(frozen=True)
class TrainSettings:
    """How a checkpoint is trained.

    Attributes:
        epochs: passes over the examples; ignored where ``max_steps`` is given.
        max_steps: optimiser steps, or None.
        batch_size: examples in a step, over all devices.
        accumulation: parts that a step's examples are computed in, one after the other.
        learning_rate: the highest learning rate of AdamW.
        warmup_ratio: share of the steps in which the learning rate rises.
        schedule: one of ``SCHEDULES``.
        weight_decay: AdamW's decoupled weight decay.
        loss: mean token loss over the "completion" only, or over the whole "text".
        max_length: tokens after which an example is cut.
        end_token: whether the end-of-sequence token is added to an example, where its tokenizer does not.
        order: of the examples. In our `own` order each pass is drawn by the seed and the pass's number,
            and its last batch filled up. With `trainer` it is what transformers' Trainer draws: the first
            pass of every training by the seed alone, pass e by seed + e, and the last batch as it comes.
        first_epoch: number of the first pass, which decides its own order: round r of a training in rounds
            reads as the r-th pass of one training does. The Trainer starts every round from the same order.
        seed: seed of the order of the examples and of dropout.
        bf16: compute in bfloat16 where autocast does so, weights stay in float32; None: on GPUs that have it.
        group_by_length: put examples of similar length in one batch, which saves padding.
        cpu: train on the CPU even where there is an accelerator.
        adapter: the adapter to train, or None for all weights.
        save_seconds: a training saves itself so often, to be gone on with when it was killed.
        report_to: who follows the training, of ``TRACKERS``, by transformers' integrations.

    Raises:
        InputError: a setting is out of its range.
    """

    epochs: float = 1
    max_steps: int | None = None
    batch_size: int = 8
    accumulation: int = 1
    learning_rate: float = 3e-4
    warmup_ratio: float = 0.03
    schedule: str = "cosine"
    weight_decay: float = 0.0
    loss: Loss = "completion"
    max_length: int = 512
    end_token: bool = True
    order: Order = "own"
    first_epoch: int = 0
    seed: int = 0
    bf16: bool | None = None
    group_by_length: bool = True
    cpu: bool = False
    adapter: AdapterSettings | None = None
    save_seconds: float = 300
    report_to: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, (holds, expected) in _EXPECTED.items():
            value = getattr(self, name)
            if not holds(value):
                raise InputError(f"The training setting {name} is {value!r}; {expected} is expected.")
        if self.order == "trainer" and self.group_by_length:
            raise InputError(
                "The training setting order is 'trainer', which does not look at lengths: set "
                "group_by_length to false, or order to 'own'."
            )


def _trackers(value: object) -> bool:
    return isinstance(value, tuple) and set(value) <= set(TRACKERS)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


_EXPECTED: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "epochs": (lambda value: _number(value) and value > 0, "a number above 0"),
    "max_steps": (lambda value: value is None or _whole(value, 1), "a whole number from 1 on, or None,"),
    "batch_size": (lambda value: _whole(value, 1), "a whole number from 1 on"),
    "accumulation": (lambda value: _whole(value, 1), "a whole number from 1 on"),
    "first_epoch": (lambda value: _whole(value, 0), "a whole number from 0 on"),
    "save_seconds": (lambda value: _number(value) and value >= 0, "a number from 0 on"),
    "learning_rate": (lambda value: _number(value) and value > 0, "a number above 0"),
    "warmup_ratio": (lambda value: _number(value) and 0 <= value <= 1, "a number from 0 to 1"),
    "schedule": (lambda value: value in SCHEDULES, f"one of {', '.join(SCHEDULES)}"),
    "weight_decay": (lambda value: _number(value) and value >= 0, "a number from 0 on"),
    "loss": (lambda value: value in get_args(Loss), f"one of {', '.join(get_args(Loss))}"),
    "max_length": (lambda value: _whole(value, 2), "a whole number from 2 on"),
    "end_token": (lambda value: isinstance(value, bool), "true or false"),
    "order": (lambda value: value in get_args(Order), f"one of {', '.join(get_args(Order))}"),
    "report_to": (_trackers, f"any of {', '.join(TRACKERS)}"),
    "seed": (lambda value: _whole(value, 0) and value < 2**32, "a whole number from 0 to 2**32 - 1"),
}
