"""Where two checkpoints' configurations, generation settings and tokenizers differ, key by key.

Files are compared first as they are. Only where they differ in a key that could mean something does
transformers say what they mean: the defaults of keys that one leaves out, and one form for settings whose
place has changed (`rope_theta` and `rope_scaling` are `rope_parameters` since version 5).
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

from merging.checkpoints.checkpoint import FACTORS, Checkpoint
from merging.checkpoints.tokenizer_files import read_mapping, same_file
from merging.known_keys import GENERATION_DEFAULTS, Known, known
from merging.pairs import Pairs, unequal, with_reasons
from merging.tokenizer_settings import tokenizer_pairs

_ENDS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
_SETTLED_ALIKE = Known("the model class makes the same of both")


def differing(base: Checkpoint, expert: Checkpoint) -> Pairs:
    """Return every key in which an expert's settings differ from the base's, with what is known of it."""
    tokenizer = tokenizer_pairs(base.home, expert.tokenizer_folder)
    if base.config.get("model_type") == FACTORS:  # whose settings are judged where they are opened
        return tokenizer
    return {**_config(base.config, expert.config), **_generation(base, expert), **tokenizer}


def _config(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Pairs:
    written = unequal(ours, theirs, "config")
    if all((reason := known(key)) and not reason.derives for key in written):
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


def _generation(base: Checkpoint, expert: Checkpoint) -> Pairs:
    files = [one.home / "generation_config.json" for one in (base, expert)]
    if not any(file.is_file() for file in files) or same_file(*files):
        return {}
    ours, theirs = (
        {**GENERATION_DEFAULTS, **(read_mapping(file) if file.is_file() else _ends(one))}
        for file, one in zip(files, (base, expert), strict=True)
    )
    return with_reasons(unequal(ours, theirs, "generation"))


def _ends(checkpoint: Checkpoint) -> dict[str, Any]:
    """What holds for generation where no file says it."""
    config = _settled(checkpoint.config) or checkpoint.config
    return {name: config.get(name) for name in _ENDS}
