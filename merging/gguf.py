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
_ARCHITECTURES = ("llama", "qwen2", "qwen3")
"""Those of which transformers reads all that decides the computation."""
_READ = frozenset(
    (
        *("block_count", "context_length", "embedding_length", "feed_forward_length", "vocab_size"),
        *(
            "attention.head_count",
            "attention.head_count_kv",
            "attention.key_length",
            "attention.value_length",
        ),
        *("attention.layer_norm_rms_epsilon", "rope.freq_base", "rope.dimension_count"),
    )
)
"""Keys of such an architecture that are read, or follow from those that are."""
_EVERY_DIGIT = frozenset({"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone"})
"""Splits each digit off, and then as GPT-2 does."""
_LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
_QWEN_2 = _LLAMA_3.replace(r"\p{N}{1,3}", r"\p{N}")
_AS_LLAMA_3 = ("llama-bpe", "llama3", "llama-v3", "smaug-bpe", "dbrx")
_PATTERNS = {
    **dict.fromkeys(_AS_LLAMA_3, _LLAMA_3),
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen", "stablelm2", "megrez"), _QWEN_2),
}
"""Regular expressions that split a text, by their names in files (llama.cpp, src/llama-vocab.cpp)."""
_BOS_UNLESS_SAID = ("llama-bpe", "llama3", "llama-v3")
_CONTROL, _USER_DEFINED = 3, 4
"""Kinds of tokens that no text is split into."""
_ADVICE = "give a folder with the model's own tokenizer (--tokenizer)"
_AS_GPT_2 = frozenset({"gpt-2", "gpt2", "phi-2", "olmo", "jina-en", "mpt"})


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
    # One that is given is loaded to say where there is none, and copied as it is.
    loaded = _prepared_tokenizer(file, fields) if tokenizer is None else load_tokenizer(tokenizer)
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
        if tokenizer is None:
            loaded.save_pretrained(folder)
        else:
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
    _check_keys(file, str(architecture), fields)
    with loading(file, f"model, of the architecture {architecture!r},"):
        config = transformers.AutoConfig.from_pretrained(file.parent, gguf_file=file.name)
        if (width := fields.get(f"{architecture}.attention.key_length")) is not None:
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
    held, stored = sum(parameter.numel() for parameter in model.parameters()), fields[""]
    if held != stored:
        raise InputError(
            f"{file} holds tensors of {stored:,} numbers, of which transformers' {type(model).__name__} has "
            f"room for {held:,}, so that part of the model would be lost."
        )
    return model


def _check_keys(file: Path, architecture: str, fields: Mapping[str, Any]) -> None:
    """Refuse what transformers would pass over though it decides the computation."""
    if architecture not in _ARCHITECTURES:
        raise InputError(
            f"{file} is of the architecture {architecture!r}; {', '.join(_ARCHITECTURES)} can be converted."
        )
    prefix = f"{architecture}."
    own = {key.removeprefix(prefix): value for key, value in fields.items() if key.startswith(prefix)}
    # llama.cpp scales linearly where a factor comes without a type.
    unscaled = own.get("rope.scaling.type") == "none" or own.get("rope.scaling.factor", 1) in (0, 1)
    for key, value in own.items():
        if key not in _READ and not (unscaled and key.startswith("rope.scaling.")):
            raise InputError(
                f"{file} says {prefix}{key}: {value}, which is not read, and would compute something else."
            )
    width = own.get("attention.key_length") or own["embedding_length"] // own["attention.head_count"]
    for key in ("rope.dimension_count", "attention.value_length"):
        if own.get(key, width) != width:
            raise InputError(
                f"{file} says {prefix}{key}: {own[key]}, not {width} as its heads; that is not read."
            )


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
    """The file's tokenizer, with its ids, which splits and begins texts as the file says."""
    import transformers

    kind, name = fields.get("tokenizer.ggml.model"), fields.get("tokenizer.ggml.pre", "default")
    if kind == "gpt2":
        tokenizer = _byte_pairs(file, name, fields)
    elif fields.get("tokenizer.ggml.add_space_prefix") is False:
        raise InputError(f"{file}: its tokenizer adds no space before a text, which is not read; {_ADVICE}.")
    else:
        with loading(file, "tokenizer"):
            tokenizer = transformers.AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    context = fields.get(f"{fields.get('general.architecture')}.context_length")
    tokenizer.model_max_length = context or tokenizer.model_max_length
    _add_ends(
        tokenizer,
        bos=fields.get("tokenizer.ggml.add_bos_token", name in _BOS_UNLESS_SAID or kind == "llama"),
        eos=fields.get("tokenizer.ggml.add_eos_token", False),
    )
    _check_tokens(file, tokenizer, fields)
    return tokenizer


def _byte_pairs(file: Path, name: str, fields: Mapping[str, Any]) -> Any:
    """A tokenizer of byte pairs: its tokens, merges and special tokens are in the file."""
    from tokenizers import AddedToken, Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    listed = fields["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ", 1)) for merge in fields["tokenizer.ggml.merges"]]
    vocabulary = {token: number for number, token in enumerate(listed)}
    try:
        model = models.BPE(vocabulary, merges, ignore_merges=name in _AS_LLAMA_3)
    except Exception as error:  # what the library says of merges without their tokens
        raise InputError(f"{file}: its tokenizer's merges do not fit its tokens ({error}).") from error
    built = Tokenizer(model)
    built.pre_tokenizer, built.decoder = _splitting(file, name), decoders.ByteLevel()
    kinds = fields.get("tokenizer.ggml.token_type", ())
    added = [
        AddedToken(token, special=kind == _CONTROL, normalized=False)
        for token, kind in zip(listed, kinds, strict=False)
        if kind in (_CONTROL, _USER_DEFINED)
    ]
    built.add_tokens(added)

    def token(of: str) -> str | None:
        number = fields.get(f"tokenizer.ggml.{of}_token_id")
        return None if number is None else listed[number]

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=built,
        bos_token=token("bos"),
        eos_token=token("eos"),
        unk_token=token("unknown"),
        pad_token=token("padding"),
    )
    tokenizer.chat_template = fields.get("tokenizer.chat_template")
    return tokenizer


def _splitting(file: Path, name: str) -> Any:
    """What splits a text before the merges, by the name that a file gives."""
    from tokenizers import Regex, pre_tokenizers

    as_gpt_2 = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    if name in _PATTERNS:
        split = pre_tokenizers.Split(Regex(_PATTERNS[name]), behavior="isolated")
        return pre_tokenizers.Sequence(
            [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
        )
    if name in _EVERY_DIGIT:
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), as_gpt_2])
    if name in _AS_GPT_2:
        return as_gpt_2
    raise InputError(f"{file}: its tokenizer splits texts as '{name}', which is not known here; {_ADVICE}.")


def _add_ends(tokenizer: Any, *, bos: bool, eos: bool) -> None:
    """Have a tokenizer put its first and last token around every text, or not."""
    from tokenizers import processors

    ends = [tokenizer.bos_token if bos else None, tokenizer.eos_token if eos else None]
    named = [(token, tokenizer.convert_tokens_to_ids(token)) for token in ends if token]
    parts = [ends[0], "$A", ends[1]]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=[part for part in parts if part], special_tokens=list(dict(named).items())
    )


def _check_tokens(file: Path, tokenizer: Any, fields: Mapping[str, Any]) -> None:
    """Refuse a tokenizer that does not give every token its id in the file, or splits a special one."""
    listed, kinds = fields["tokenizer.ggml.tokens"], fields.get("tokenizer.ggml.token_type", ())
    vocabulary = tokenizer.get_vocab()
    wrong = [
        token
        for token, number in vocabulary.items()
        if not (number < len(listed) and listed[number] == token)
    ]
    special = [token for token, kind in zip(listed, kinds, strict=False) if kind == _CONTROL]
    wrong += [
        token
        for token in special
        if token in vocabulary and tokenizer.encode(token, add_special_tokens=False) != [vocabulary[token]]
    ]
    if wrong or len(vocabulary) != len(set(listed)):
        raise InputError(
            f"{file}: a token such as {(wrong or listed)[0]!r} gets another id than the file says; {_ADVICE}."
        )
