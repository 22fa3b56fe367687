"""Where two checkpoints' configurations, generation settings and tokenizers differ, key by key.

Files are compared first as they are. Only where they differ in a key that could mean something does
transformers say what they mean: the defaults of keys that one leaves out, and one form for settings whose
place has changed (`rope_theta` and `rope_scaling` are `rope_parameters` since version 5).
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from merging.checkpoint import FACTORS, Checkpoint
from merging.known_keys import known
from merging.tokenizer import (
    TOKENIZER_FILES,
    added_tokens,
    chat_template,
    read_json,
    same_file,
    vocabulary,
)


@dataclass(frozen=True)
class Pair:
    """The base's value of a key and an expert's, None where it is left out; and why the two mean the same."""

    ours: Any
    theirs: Any
    alike: str = ""


Pairs = dict[str, Pair]

_MOVED = {
    "rope_theta": "rope_parameters.rope_theta",
    "rope_scaling": "rope_parameters",
    "partial_rotary_factor": "rope_parameters.partial_rotary_factor",
    "torch_dtype": "dtype",
}
"""Names in old configurations, and what transformers 5 calls them."""

_ENDS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
_TEXT_FILES = ("merges.txt", "sentencepiece.bpe.model", "spiece.model", "tokenizer.model", "vocab.txt")


def todays_name(key: str) -> str:
    """Return a key under its name in transformers 5, where `config.rope_theta` is in `rope_parameters`."""
    where, _, inner = key.partition(".")
    first, dot, rest = inner.partition(".")
    return f"{where}.{_MOVED.get(first, first)}{dot}{rest}" if where == "config" else key


def differing(base: Checkpoint, expert: Checkpoint) -> Pairs:
    """Return every key in which an expert's settings differ from the base's."""
    tokenizer = _tokenizer(base.home, expert.tokenizer_folder)
    if base.config.get("model_type") == FACTORS:  # whose settings are judged where they are opened
        return tokenizer
    return {**_config(base.config, expert.config), **_generation(base, expert), **tokenizer}


def _config(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Pairs:
    written = _pairs(_flat(ours, "config"), _flat(theirs, "config"))
    if all((reason := known(key)) and not reason.derives for key in written):
        return written
    settled = _settled(ours), _settled(theirs)
    if settled[0] is None or settled[1] is None:
        return written
    every = _pairs(_flat(settled[0], "config"), _flat(settled[1], "config"))
    meant = {key: pair for key, pair in every.items() if not known(key)}
    for key, pair in written.items():
        if known(key):
            meant[key] = pair
        elif pair.ours is not None and pair.theirs is not None and key not in meant:
            meant[key] = replace(pair, alike="the model class makes the same of both")
    return meant


def _settled(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a configuration with its class's defaults and today's names; None where no class reads it."""
    import transformers
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    )

    kind = config.get("model_type")
    if kind not in transformers.CONFIG_MAPPING:
        return None
    rest = {key: deepcopy(value) for key, value in config.items() if key != "model_type"}
    try:
        settled = transformers.AutoConfig.for_model(kind, **rest).to_dict()
    except Exception:  # whatever its checks make of values that it refuses; they are compared as written
        return None
    classes = MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES | MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    settled["architectures"] = settled.get("architectures") or [classes.get(kind)]
    rope = settled.get("rope_parameters")
    if isinstance(rope, dict) and "rope_type" in rope:
        rope.pop("type", None)  # its name before `rope_type`
    return settled


def _generation(base: Checkpoint, expert: Checkpoint) -> Pairs:
    files = [one.home / "generation_config.json" for one in (base, expert)]
    if not any(file.is_file() for file in files) or same_file(*files):
        return {}
    ours, theirs = (
        read_json(file) if file.is_file() else _ends(one)
        for file, one in zip(files, (base, expert), strict=True)
    )
    return _pairs(_flat(ours, "generation"), _flat(theirs, "generation"))


def _ends(checkpoint: Checkpoint) -> dict[str, Any]:
    """What holds for generation where no file says it."""
    config = _settled(checkpoint.config) or checkpoint.config
    return {name: config.get(name) for name in _ENDS}


def _tokenizer(ours: Path, theirs: Path) -> Pairs:
    files = [[name for name in TOKENIZER_FILES if (folder / name).is_file()] for folder in (ours, theirs)]
    if not files[0] or not files[1]:
        # An expert without a tokenizer says nothing about it.
        return {"tokenizer.files": Pair(files[0], files[1])} if files[1] else {}
    said = _pairs(*(_flat(_tokenizer_config(folder), "tokenizer") for folder in (ours, theirs)))
    pairs = {key: pair for key, pair in said.items() if not _is_default(key, pair, ours, theirs)}
    if not same_file(ours / "tokenizer.json", theirs / "tokenizer.json"):
        pairs |= _pairs(*(_flat(_pipeline(folder), "tokenizer") for folder in (ours, theirs)))
        pairs |= _flags(ours, theirs)
    templates = Pair(chat_template(ours), chat_template(theirs))
    if templates.ours != templates.theirs:
        pairs["tokenizer.chat_template"] = templates
    return pairs


def _flags(ours: Path, theirs: Path) -> Pairs:
    """Tokens of both that only one sets apart, or sets apart in another way."""
    words = (vocabulary(ours) or {}).keys() & (vocabulary(theirs) or {}).keys()
    left, right = added_tokens(ours), added_tokens(theirs)
    differ = sorted(token for token in words & {*left, *right} if left.get(token) != right.get(token))
    if not differ:
        return {}
    flags = [{token: one.get(token) for token in differ} for one in (left, right)]
    return {"tokenizer.token_flags": Pair(flags[0], flags[1])}


def _pipeline(folder: Path) -> dict[str, Any]:
    """What turns text into tokens beside the vocabulary, by tokenizer.json, else by other files."""
    file = folder / "tokenizer.json"
    if not file.is_file():
        return {name: (folder / name).read_bytes().hex() for name in _TEXT_FILES if (folder / name).is_file()}
    content = read_json(file)
    model = {key: value for key, value in content["model"].items() if key != "vocab"}
    if isinstance(content["model"].get("vocab"), list):  # of a Unigram model: [token, score]
        model["scores"] = [pair[1] for pair in content["model"]["vocab"]]
    rest = {key: value for key, value in content.items() if key not in ("model", "added_tokens")}
    return {**rest, "model": model}


def _tokenizer_config(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            content |= read_json(folder / name)
    content.pop("chat_template", None)
    # A token is written as its text, or with its flags, which tokenizer.json has too.
    return {
        key: value["content"] if isinstance(value, dict) and "content" in value else value
        for key, value in content.items()
    }


def _is_default(key: str, pair: Pair, ours: Path, theirs: Path) -> bool:
    """Whether one tokenizer leaves a key out and its class takes the value that the other one says."""
    if known(key) or (pair.ours is not None and pair.theirs is not None):
        return False
    from transformers import AutoTokenizer

    folder, value = (ours, pair.theirs) if pair.ours is None else (theirs, pair.ours)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception:  # what cannot be loaded has no defaults, so the difference stands
        return False
    return getattr(tokenizer, key.partition(".")[2], None) == value


def _pairs(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Pairs:
    pairs = {key: Pair(ours.get(key), theirs.get(key)) for key in {**ours, **theirs}}
    return {key: pair for key, pair in pairs.items() if pair.ours != pair.theirs}


def _flat(content: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Values by dotted keys, under today's names."""
    flat: dict[str, Any] = {}
    for name, value in content.items():
        key = f"{where}.{name}"
        flat |= _flat(value, key) if isinstance(value, Mapping) and value else {todays_name(key): value}
    return flat
