"""Checkpoints as transformers loads them, to be trained or scored; errors name the file."""

import copy
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.utils import logging as hf_logging

import merging.checkpoints.lean_transformers  # noqa: F401
from merging.checkpoints.checkpoint import Checkpoint
from merging.checkpoints.folders import read_mapping
from merging.checkpoints.tied import without_duplicates
from results.errors import InputError, and_more

logger = logging.getLogger("manyshot.merging")
_UNLIMITED = 10**9  # tokenizers without a limit report a huge model_max_length
_DEFAULT_MAX_LENGTH = 2048
_VOCABULARY_FILES = (
    "sentencepiece.bpe.model",
    "spiece.model",
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
)
"""Without one of these, transformers makes an empty tokenizer for some models."""
_OF_BYTES = ("ByT5Tokenizer",)
"""Tokenizers that need no vocabulary."""


@contextmanager
def without_file_bars() -> Iterator[None]:
    """Without transformers' own bars for the reading and writing of files."""
    visible = hf_logging.is_progress_bar_enabled()
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        if visible:
            hf_logging.enable_progress_bar()


@contextmanager
def loading(folder: Path, part: str = "model") -> Iterator[None]:
    """Turn what transformers raises over a part of a checkpoint into one sentence, and hide its bars."""
    try:
        with without_file_bars():
            yield
    except (InputError, MemoryError):
        raise
    except Exception as error:  # whatever the files' content makes it stumble over
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or ["no reason given"]
        reason = " ".join(lines[: 2 if lines[0].endswith(":") else 1]).rstrip(".: ")
        raise InputError(
            f"{folder}: its {part} cannot be loaded ({type(error).__name__}: {reason})."
        ) from error


def load_config(folder: Path) -> Any:
    """Return a checkpoint's configuration.

    Raises:
        InputError: it is not there or not understood.
    """
    with loading(folder, "configuration"):
        return transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)


def family(config: Any) -> Any:
    """Return the class of transformers that loads models of a configuration."""
    return (
        transformers.AutoModelForSeq2SeqLM if config.is_encoder_decoder else transformers.AutoModelForCausalLM
    )


def load_tokenizer(folder: Path) -> Any:
    """Return a checkpoint's tokenizer.

    Raises:
        InputError: there is none, or it cannot be loaded.
    """
    if not any((folder / name).is_file() for name in _VOCABULARY_FILES):
        settings = folder / "tokenizer_config.json"
        if not settings.is_file() or read_mapping(settings).get("tokenizer_class") not in _OF_BYTES:
            raise InputError(
                f"{folder} has no tokenizer; one of {', '.join(_VOCABULARY_FILES)} is expected in it."
            )
    with loading(folder, "tokenizer"):
        return transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)


def padding_of(tokenizer: Any) -> int:
    """Return the token that fills rows up, which nothing reads: 0 where there is none for it."""
    tokens = (tokenizer.pad_token_id, tokenizer.eos_token_id, 0)
    return next(token for token in tokens if token is not None)


def load_model(folder: Path) -> Any:
    """Return a checkpoint's model in float32.

    Raises:
        InputError: it cannot be loaded, or lacks a tensor or has one of another shape.
    """
    config = load_config(folder)
    with loading(folder):
        model, report = family(config).from_pretrained(
            folder,
            dtype=torch.float32,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # so that they are named below
        )
    refuse_unfilled(folder, report)
    return model


def refuse_unfit(checkpoint: Path, config: Any) -> None:
    """Refuse a checkpoint whose tensors are no weights, or not those of the model in config.json.

    Judged by the headers of its files before an engine reads a byte, with transformers' own knowledge of
    names that changed, that tie and that nobody reads. What a quantised checkpoint must hold is for its
    reader to say.

    Raises:
        InputError: names the tensor.
    """
    opened = Checkpoint.open(checkpoint)
    if getattr(config, "quantization_config", None):
        return
    with loading(checkpoint):
        _, report = family(config).from_pretrained(
            checkpoint,
            config=copy.deepcopy(config),
            device_map="meta",
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # so that they are named
        )
    refuse_unfilled(checkpoint, report)
    without_duplicates(opened)


def refuse_unfilled(where: Path, report: Mapping[str, Any]) -> None:
    """Refuse a checkpoint that does not fill its model, or holds more than the model reads.

    Args:
        where: the checkpoint's folder.
        report: what transformers' loading says: `missing_keys`, `unexpected_keys` (less what the model class
            itself leaves unread) and `mismatched_keys`.

    Raises:
        InputError: names the first tensor.
    """
    # transformers would put random numbers in their place.
    unread = sorted(report["unexpected_keys"])
    for name in sorted(report["missing_keys"]):
        lacked = f"{where}: the weights lack the tensor {name!r}{and_more(report['missing_keys'])}"
        if unread:
            raise InputError(
                f"{lacked} and have {unread[0]!r}{and_more(unread)}, which the model that config.json "
                "describes does not read; save the model under its class's names."
            )
        raise InputError(f"{lacked}; copy or download the model again.")
    for name, stored, expected in sorted(report["mismatched_keys"]):
        raise InputError(
            f"{where}: tensor {name!r} has the shape {tuple(stored)}, but config.json asks for "
            f"{tuple(expected)}; copy or download the model again."
        )
    for name in unread:
        raise InputError(
            f"{where}: the model that config.json describes reads no tensor {name!r}"
            f"{and_more(unread)}, and would be another without it; correct config.json, "
            "or save the model again."
        )


def load_generation_config(checkpoint: Path, config: Any) -> Any:
    """What a checkpoint says of generation, or what follows from its configuration."""
    if (checkpoint / "generation_config.json").is_file():
        with loading(checkpoint, "generation settings"):
            return transformers.GenerationConfig.from_pretrained(checkpoint)
    return transformers.GenerationConfig.from_model_config(config)


def unsaveable_generation(model: Any, folder: Path) -> Path | None:
    """Return the file of generation settings that transformers reads but does not write; None where it does.

    The model then has none of its own, so that it can be saved; the file is to be copied.
    """
    settings = getattr(model, "generation_config", None)
    if settings is None:
        return None
    try:
        settings.validate(strict=True)
    except ValueError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        file = folder / "generation_config.json"
        logger.warning("%s contradicts itself, and is copied as it is: %s", file, " ".join(lines[:2]))
        model.generation_config = transformers.GenerationConfig()
        return file if file.is_file() else None
    return None


def end_tokens(tokenizer: Any, generation_config: Any) -> frozenset[int]:
    """The tokens that end an answer."""
    listed = generation_config.eos_token_id
    tokens = {tokenizer.eos_token_id, *(listed if isinstance(listed, list) else [listed])}
    return frozenset(tokens - {None})


def max_length(config: Any, tokenizer: Any) -> int:
    """Longest sequence in tokens that a checkpoint is made for."""
    for key in ("n_positions", "max_position_embeddings", "n_ctx", "max_sequence_length"):
        value = getattr(config.get_text_config(), key, None)
        if value:
            return int(value)
    limit = tokenizer.model_max_length
    return int(limit) if limit and limit < _UNLIMITED else _DEFAULT_MAX_LENGTH


def architecture(config: Any) -> dict[str, Any]:
    """What two checkpoints must have in common for one's weights to be put in the other's place."""
    volatile = {"_name_or_path", "transformers_version", "dtype", "torch_dtype"}
    return {key: value for key, value in config.to_dict().items() if key not in volatile}


def refuse_not_finite(checkpoint: Path, name: str, tensor: torch.Tensor) -> None:
    """Let no NaN and no infinity through.

    Raises:
        InputError: the tensor holds one.
    """
    if tensor.is_floating_point() and not tensor.isfinite().all():
        raise InputError(f"The checkpoint {checkpoint} holds NaN or infinity in the tensor {name}.")
