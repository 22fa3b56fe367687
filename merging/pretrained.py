"""Checkpoints as transformers loads them, to be trained or followed; what is wrong is said by name."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer
from transformers.utils import logging

from results.errors import InputError
from results.weights import refuse_unfilled

VOCABULARY_FILES = (
    "sentencepiece.bpe.model",
    "spiece.model",
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
)
"""Without one of these, transformers makes an empty tokenizer for some models."""


def has_encoder(folder: Path) -> bool:
    """Return whether a checkpoint is an encoder-decoder.

    Raises:
        InputError: its configuration cannot be loaded.
    """
    with _loading(folder, "configuration"):
        return bool(AutoConfig.from_pretrained(folder, trust_remote_code=False).is_encoder_decoder)


def load_tokenizer(folder: Path) -> Any:
    """Return a checkpoint's tokenizer.

    Raises:
        InputError: there is none, or it cannot be loaded, or has no end-of-sequence token.
    """
    if not any((folder / name).is_file() for name in VOCABULARY_FILES):
        raise InputError(
            f"{folder} has no tokenizer; one of {', '.join(VOCABULARY_FILES)} is expected in it."
        )
    with _loading(folder, "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    if tokenizer.eos_token_id is None:
        raise InputError(f"{folder}: the tokenizer names no end-of-sequence token, which ends every example.")
    return tokenizer


def load_model(folder: Path) -> Any:
    """Return a checkpoint's model in float32.

    Raises:
        InputError: it cannot be loaded, or lacks a tensor or has one of another shape.
    """
    family = AutoModelForSeq2SeqLM if has_encoder(folder) else AutoModelForCausalLM
    with without_file_bars(), _loading(folder, "model"):
        model, found = family.from_pretrained(
            folder,
            dtype=torch.float32,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # so that they are named below
        )
    refuse_unfilled(folder, found)
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


def padding_of(tokenizer: Any) -> int:
    """Return the token that fills rows up."""
    return tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id


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
