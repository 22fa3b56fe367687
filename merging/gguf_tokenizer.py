"""A GGUF file's own tokenizer, which splits texts as the file says by name only (`tokenizer.ggml.pre`)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from merging.checkpoints.pretrained import loading
from merging.gguf_keys import GgufKeys
from results.errors import InputError

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
"""Types of tokens that no text is split into."""
_ADVICE = "give a folder with the model's own tokenizer (--tokenizer)"
_LACKING = f"so that it has no whole tokenizer; {_ADVICE}"
_AS_GPT_2 = frozenset({"gpt-2", "gpt2", "phi-2", "olmo", "jina-en", "mpt"})
_MERGES, _TYPES = "tokenizer.ggml.merges", "tokenizer.ggml.token_type"


@dataclass(frozen=True)
class _Listed:
    """A file's tokens in the order of their ids, their types where it says them, its special ones' ids."""

    tokens: list[str]
    types: list[int]
    special: dict[str, int | None]


def prepared_tokenizer(keys: GgufKeys) -> Any:
    """Return a file's tokenizer, with its ids, which splits and begins texts as the file says.

    Raises:
        InputError: it is not all there, or splits texts in a way that is not known here.
    """
    import transformers

    file = keys.file
    kind = keys.required("tokenizer.ggml.model", _LACKING)
    name = keys.get("tokenizer.ggml.pre", "default")
    listed = _Listed(
        tokens=keys.array("tokenizer.ggml.tokens", str, _LACKING),
        types=keys.array(_TYPES, int, _LACKING) if keys.get(_TYPES) is not None else [],
        special={of: keys.token(of) for of in ("bos", "eos", "unknown", "padding")},
    )
    if kind == "gpt2":
        tokenizer = _byte_pairs(keys, name, listed)
    elif kind != "llama":
        raise InputError(
            f"{file}: its tokenizer is of the kind {kind!r}; those of gpt2 and llama are read; {_ADVICE}."
        )
    elif keys.get("tokenizer.ggml.add_space_prefix") is False:
        raise InputError(f"{file}: its tokenizer adds no space before a text, which is not read; {_ADVICE}.")
    else:
        if keys.get(_MERGES) is None:
            keys.array("tokenizer.ggml.scores", float, _LACKING)
        with loading(file, "tokenizer"):
            tokenizer = transformers.AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    tokenizer.model_max_length = keys.size(f"{keys.architecture}.context_length")
    _add_ends(
        tokenizer,
        bos=keys.get("tokenizer.ggml.add_bos_token", name in _BOS_UNLESS_SAID or kind == "llama"),
        eos=keys.get("tokenizer.ggml.add_eos_token", False),
    )
    _check_tokens(file, tokenizer, listed)
    return tokenizer


def _byte_pairs(keys: GgufKeys, name: str, listed: _Listed) -> Any:
    """A tokenizer of byte pairs: its tokens, merges and special tokens are in the file."""
    from tokenizers import AddedToken, Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    merges = [tuple(merge.split(" ", 1)) for merge in keys.array(_MERGES, str, _LACKING)]
    vocabulary = {token: number for number, token in enumerate(listed.tokens)}
    try:
        model = models.BPE(vocabulary, merges, ignore_merges=name in _AS_LLAMA_3)
    except Exception as error:  # what the library says of merges without their tokens
        raise InputError(
            f"{keys.file}: its tokenizer's merges do not fit its tokens ({error}); {_ADVICE}."
        ) from error
    built = Tokenizer(model)
    built.pre_tokenizer, built.decoder = _splitting(keys.file, name), decoders.ByteLevel()
    added = [
        AddedToken(token, special=kind == _CONTROL, normalized=False)
        for token, kind in zip(listed.tokens, listed.types, strict=False)
        if kind in (_CONTROL, _USER_DEFINED)
    ]
    built.add_tokens(added)

    def token(of: str) -> str | None:
        number = listed.special[of]
        return None if number is None else listed.tokens[number]

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=built,
        bos_token=token("bos"),
        eos_token=token("eos"),
        unk_token=token("unknown"),
        pad_token=token("padding"),
    )
    tokenizer.chat_template = keys.get("tokenizer.chat_template")
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


def _check_tokens(file: Path, tokenizer: Any, listed: _Listed) -> None:
    """Refuse a tokenizer that does not give every token its id in the file, or splits a special one."""
    tokens = listed.tokens
    vocabulary = tokenizer.get_vocab()
    wrong = [
        token
        for token, number in vocabulary.items()
        if not (number < len(tokens) and tokens[number] == token)
    ]
    special = [token for token, kind in zip(tokens, listed.types, strict=False) if kind == _CONTROL]
    wrong += [
        token
        for token in special
        if token in vocabulary and tokenizer.encode(token, add_special_tokens=False) != [vocabulary[token]]
    ]
    if wrong or len(vocabulary) != len(set(tokens)):
        raise InputError(
            f"{file}: a token such as {(wrong or tokens)[0]!r} gets another id than the file says; {_ADVICE}."
        )
