"""GGUF files, llama.cpp's form of a model, as checkpoints that can be merged and scored.

transformers reads the weights and undoes their quantisation. What it passes over without a word is looked for
and refused: tensors that it has no place for here, what else decides the computation in `gguf_keys`, and how
texts are split in `gguf_tokenizer`.
"""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from merging.checkpoints.pretrained import (
    family,
    load_tokenizer,
    loading,
    refuse_unfilled,
    without_file_bars,
)
from merging.checkpoints.tokenizer_files import copy_tokenizer
from merging.gguf_keys import GgufKeys, read_keys
from merging.gguf_tokenizer import prepared_tokenizer
from merging.recipe import OutputDtype
from merging.staging import refuse_existing, resumable
from results.errors import InputError
from results.json_values import cache_key


def convert_gguf(
    file: Path, out: Path, *, dtype: OutputDtype = "bfloat16", tokenizer: Path | None = None
) -> Path:
    """Write a GGUF file's model as a checkpoint: safetensors, configuration, tokenizer, chat template.

    Args:
        file: the GGUF file; its weights may be quantised.
        out: the checkpoint's folder, which must not exist.
        dtype: of the weights that are written.
        tokenizer: folder whose tokenizer and chat template are taken, in place of the file's own.

    Returns:
        The folder.

    Raises:
        InputError: the file is no GGUF or is cut short, its architecture is none that can be converted, a key
            is missing or senseless, part of its model would be lost, its tokenizer splits texts in a way that
            is not known here, or the folder cannot be made.
    """
    refuse_existing(out)
    keys = read_keys(file)
    generation = _generation_config(keys)
    if tokenizer is not None and not tokenizer.is_dir():
        wrong = "is a file" if tokenizer.exists() else "no such folder"
        raise InputError(f"{tokenizer}: {wrong}; the folder of a tokenizer is expected.")
    # One that is given is loaded to say where there is none, and copied as it is.
    loaded = prepared_tokenizer(keys) if tokenizer is None else load_tokenizer(tokenizer)
    # A folder that cannot be made is met before the weights are read, which takes long.
    with resumable(out, cache_key([str(file.absolute()), dtype, str(tokenizer)])) as folder:
        model = _read_model(keys)
        config = model.config
        _round_to_float32(config)
        del config.quantization_config
        with torch.device("meta"):
            plain = type(model)(config)
        plain.load_state_dict(model.state_dict(), assign=True)
        plain.tie_weights()
        plain.generation_config = generation
        plain.to(getattr(torch, dtype))
        with without_file_bars():
            plain.save_pretrained(folder)
        if tokenizer is None:
            loaded.save_pretrained(folder)
        else:
            copy_tokenizer(tokenizer, folder)
    return out


def _read_model(keys: GgufKeys) -> Any:
    """The model in float32, of whose tensors none is missing and none left out."""
    import transformers

    file, architecture = keys.file, keys.architecture
    with loading(file, f"model, of the architecture {architecture!r},"), _bar_on_terminals_only():
        config = transformers.AutoConfig.from_pretrained(file.parent, gguf_file=file.name)
        if (width := keys.get(f"{architecture}.attention.key_length")) is not None:
            config.head_dim = width  # which transformers takes to be 128 in Qwen 3
        model, report = family(config).from_pretrained(
            file.parent,
            config=config,
            gguf_file=file.name,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # so that they are named
        )
    refuse_unfilled(file, report)
    held, stored = sum(parameter.numel() for parameter in model.parameters()), keys.stored
    if held != stored:
        raise InputError(
            f"{file} holds tensors of {stored:,} numbers, of which transformers' {type(model).__name__} has "
            f"room for {held:,}, so that part of the model would be lost."
        )
    return model


@contextmanager
def _bar_on_terminals_only() -> Iterator[None]:
    """Hide transformers' bar for the tensors of a GGUF file, which none of its settings hides, in logs."""
    from transformers import modeling_gguf_pytorch_utils as reading

    bar = reading.tqdm
    reading.tqdm = functools.partial(bar, disable=None)
    try:
        yield
    finally:
        reading.tqdm = bar


def _round_to_float32(config: Any) -> None:
    """Write numbers as they were before they were stored in float32: 1e-05, not 9.999999747378752e-06."""
    for name, value in config.to_dict().items():
        if isinstance(value, float):
            setattr(config, name, float(str(np.float32(value))))


def _generation_config(keys: GgufKeys) -> Any:
    """The tokens that begin, end and fill up an answer."""
    import transformers

    ends = list(dict.fromkeys(end for name in ("eos", "eot", "eom") if (end := keys.token(name)) is not None))
    return transformers.GenerationConfig(
        bos_token_id=keys.token("bos"),
        eos_token_id=ends[0] if len(ends) == 1 else ends or None,
        pad_token_id=keys.token("padding"),
    )
