"""Where two checkpoints' configurations and generation settings differ, key by key.

Files are compared first as they are. Only where they differ in a key that could mean something does
transformers say what they mean: the defaults of keys that one leaves out, and one form for settings whose
place has changed (`rope_theta` and `rope_scaling` are `rope_parameters` since version 5).
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

from merging.allowed_differences import GENERATION_DEFAULTS, Reason, allowed
from merging.checkpoints.checkpoint import Checkpoint


@dataclass(frozen=True)
class Pair:
    """The base's value of a key and an expert's, None where it is left out; and why they may differ."""

    ours: Any
    theirs: Any
    reason: Reason | None = None


_ENDS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
_SETTLED_ALIKE = Reason("the model class makes the same of both")

_MOVED = {
    "rope_theta": "rope_parameters.rope_theta",
    "rope_scaling": "rope_parameters",
    "partial_rotary_factor": "rope_parameters.partial_rotary_factor",
    "torch_dtype": "dtype",
}
"""Names in old configurations, and what transformers 5 calls them."""


def current_name(key: str) -> str:
    """Return a key under its name in transformers 5, where `config.rope_theta` is in `rope_parameters`."""
    where, _, inner = key.partition(".")
    first, dot, rest = inner.partition(".")
    return f"{where}.{_MOVED.get(first, first)}{dot}{rest}" if where == "config" else key


def unequal(ours: Mapping[str, Any], theirs: Mapping[str, Any], where: str) -> dict[str, Pair]:
    """Return the values that differ, by dotted keys under today's names.

    Args:
        ours: the base's content.
        theirs: the expert's.
        where: what the keys start with: `config`, `generation` or `tokenizer`.
    """
    left, right = _flat(ours, where), _flat(theirs, where)
    pairs = {key: Pair(left.get(key), right.get(key)) for key in {**left, **right}}
    return {key: pair for key, pair in pairs.items() if pair.ours != pair.theirs}


def with_reasons(pairs: dict[str, Pair], *contents: Mapping[str, Any]) -> dict[str, Pair]:
    """Return pairs with what is known of their keys, given what they stand among on both sides."""
    return {key: replace(pair, reason=pair.reason or allowed(key, *contents)) for key, pair in pairs.items()}


def _flat(content: Mapping[str, Any], where: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in content.items():
        key = f"{where}.{name}"
        flat |= _flat(value, key) if isinstance(value, Mapping) and value else {current_name(key): value}
    return flat


def config_pairs(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Pair]:
    """Return the keys of config.json in which two differ, with the reasons why they may."""
    written = unequal(ours, theirs, "config")
    if all((reason := allowed(key)) and not reason.derives for key in written):
        return with_reasons(written)
    settled = _settled(ours), _settled(theirs)
    if settled[0] is None or settled[1] is None:
        return with_reasons(written, ours, theirs)
    every = with_reasons(unequal(settled[0], settled[1], "config"), settled[0], settled[1])
    meant = {key: pair for key, pair in every.items() if pair.reason is None}
    for key, pair in with_reasons(written, settled[0], settled[1]).items():
        if pair.reason:
            meant[key] = pair
        elif pair.ours is not None and pair.theirs is not None and key not in meant:
            meant[key] = replace(pair, reason=_SETTLED_ALIKE)
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


def generation_pairs(base: Checkpoint, expert: Checkpoint) -> dict[str, Pair]:
    """Return the same of generation settings."""
    settings = base.generation_settings(), expert.generation_settings()
    if settings[0] == settings[1]:
        return {}
    ours, theirs = (
        {**GENERATION_DEFAULTS, **(_ends(one) if said is None else said)}
        for said, one in zip(settings, (base, expert), strict=True)
    )
    return with_reasons(unequal(ours, theirs, "generation"))


def _ends(checkpoint: Checkpoint) -> dict[str, Any]:
    config = _settled(checkpoint.config) or checkpoint.config
    return {name: config.get(name) for name in _ENDS}
