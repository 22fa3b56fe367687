"""GGUF files, llama.cpp's form of a model, as checkpoints that can be merged and scored.

transformers reads the weights and undoes their quantisation. What it passes over without a word is looked for
here: tensors that it has no place for, a scaling of positions, and how texts are split before the tokenizer's
merges, which a file says by name only (`tokenizer.ggml.pre`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from merging.checkpoints.pretrained import family, load_tokenizer, loading, refuse_unfilled
from merging.checkpoints.tokenizer_files import copy_tokenizer
from merging.recipe import OutputDtype
from merging.staging import refuse_existing, resumable
from results.errors import InputError
from results.json_values import cache_key

_MAGIC = b"GGUF"
_EVERY_DIGIT = frozenset({"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone"})
"""Splits each digit off, and then as GPT-2 does."""
_LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
_QWEN_2 = _LLAMA_3.replace(r"\p{N}{1,3}", r"\p{N}")
_PATTERNS = {
    **dict.fromkeys(("llama-bpe", "llama3", "llama-v3", "smaug-bpe"), _LLAMA_3),
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen", "stablelm2", "megrez"), _QWEN_2),
}
"""Regular expressions that split a text, by their names in files (llama.cpp, src/llama-vocab.cpp)."""
_AS_GPT_2 = frozenset({"gpt-2", "gpt2", "phi-2", "olmo", "jina-en", "mpt", "dbrx"})


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
        InputError: the file is no GGUF or is cut short, its architecture is none that transformers reads,
            part of its model would be lost, or its tokenizer splits texts in a way that is not known here.
    """
    refuse_existing(out)
    fields = _read_fields(file)
    prepared = _prepared_tokenizer(file, fields) if tokenizer is None else None
    if tokenizer is not None:
        load_tokenizer(tokenizer)  # which says where there is none
    model = _read_model(file, fields)
    config = model.config
    _round_to_float32(config)
    del config.quantization_config
    with torch.device("meta"):
        plain = type(model)(config)
    plain.load_state_dict(model.state_dict(), assign=True)
    plain.tie_weights()
    plain.generation_config = _generation_config(fields)
    plain.to(getattr(torch, dtype))
    with resumable(out, cache_key([str(file.absolute()), dtype, str(tokenizer)])) as folder:
        plain.save_pretrained(folder)
        if prepared is not None:
            prepared.save_pretrained(folder)
        elif tokenizer is not None:
            copy_tokenizer(tokenizer, folder)
    return out


def _read_fields(file: Path) -> Mapping[str, Any]:
    """What a file says of its model, by llama.cpp's keys; its tensors' number of entries under ''."""
    if not file.is_file():
        raise InputError(f"{file}: no such file; a GGUF file is expected.")
    with file.open("rb") as opened:
        if opened.read(len(_MAGIC)) != _MAGIC:
            raise InputError(f"{file} is no GGUF file: it does not begin with 'GGUF'.")
    try:
        from gguf import GGUFReader
    except ImportError:
        raise InputError("To read GGUF files takes the package gguf: pip install 'manyshot[gguf]'.") from None
    try:
        reader = GGUFReader(file)
        fields = {name: field.contents() for name, field in reader.fields.items()}
        return {**fields, "": sum(tensor.n_elements for tensor in reader.tensors)}
    except Exception as error:  # whatever the reader stumbles over in what is left of a file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{file} is broken or cut short ({reason}); copy or download it again.") from error


def _read_model(file: Path, fields: Mapping[str, Any]) -> Any:
    """The model in float32, of whose tensors none is missing and none left out."""
    import transformers

    architecture = fields.get("general.architecture")
    with loading(file, f"model, of the architecture {architecture!r},"):
        config = transformers.AutoConfig.from_pretrained(file.parent, gguf_file=file.name)
        model, report = family(config).from_pretrained(
            file.parent, gguf_file=file.name, dtype=torch.float32, output_loading_info=True
        )
    refuse_unfilled(file, report)
    held, stored = sum(parameter.numel() for parameter in model.parameters()), fields[""]
    if held != stored:
        raise InputError(
            f"{file} holds tensors of {stored:,} numbers, of which transformers' {type(model).__name__} has "
            f"room for {held:,}, so that part of the model would be lost."
        )
    scaling = fields.get(f"{architecture}.rope.scaling.type", "none")
    if scaling != "none" and (model.config.rope_parameters or {}).get("rope_type") != scaling:
        raise InputError(
            f"{file} scales positions by '{scaling}', which transformers does not read from a GGUF file."
        )
    return model


def _round_to_float32(config: Any) -> None:
    """Write numbers as they were before they were stored in float32: 1e-05, not 9.999999747378752e-06."""
    for name, value in config.to_dict().items():
        if isinstance(value, float):
            setattr(config, name, float(str(np.float32(value))))


def _generation_config(fields: Mapping[str, Any]) -> Any:
    """The tokens that begin, end and fill up an answer."""
    import transformers

    def token(name: str) -> int | None:
        return fields.get(f"tokenizer.ggml.{name}_token_id")

    ends = list(dict.fromkeys(end for name in ("eos", "eot", "eom") if (end := token(name)) is not None))
    return transformers.GenerationConfig(
        bos_token_id=token("bos"),
        eos_token_id=ends[0] if len(ends) == 1 else ends or None,
        pad_token_id=token("padding"),
    )


def _prepared_tokenizer(file: Path, fields: Mapping[str, Any]) -> Any:
    """The file's tokenizer, which splits texts as the file says."""
    import transformers
    from tokenizers import Regex, pre_tokenizers

    with loading(file, "tokenizer"):
        tokenizer = transformers.AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    context = fields.get(f"{fields.get('general.architecture')}.context_length")
    tokenizer.model_max_length = context or tokenizer.model_max_length
    if fields.get("tokenizer.ggml.model") != "gpt2":
        return tokenizer
    name = fields.get("tokenizer.ggml.pre", "default")
    bytes_alone = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    as_gpt_2 = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    if name in _PATTERNS:
        split = pre_tokenizers.Split(Regex(_PATTERNS[name]), behavior="isolated")
        before: Any = pre_tokenizers.Sequence([split, bytes_alone])
    elif name in _EVERY_DIGIT:
        before = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), as_gpt_2])
    elif name in _AS_GPT_2:
        before = as_gpt_2
    else:
        raise InputError(
            f"{file}: its tokenizer splits texts as '{name}', which is not known here; give a folder "
            "with the model's own tokenizer (--tokenizer)."
        )
    tokenizer.backend_tokenizer.pre_tokenizer = before
    return tokenizer
