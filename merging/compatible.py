"""Whether experts fit the base they are said to come from, judged by name and before any merging."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from merging.checkpoints.checkpoint import Checkpoint
from merging.checkpoints.dtypes import FLOATS
from merging.checkpoints.tied import TIE_ADVICE, class_ties
from merging.checkpoints.token_rows import vocabulary_size
from merging.checkpoints.tokenizer_files import both_vocabularies, read_mapping
from results.errors import InputError, and_more


def check_compatible(
    base: Checkpoint, experts: Mapping[str, Checkpoint], *, by_token: bool = False, has_recipe: bool = True
) -> None:
    """Refuse experts that do not have the base's tensors, vocabulary and model type.

    Floats may differ in dtype. Tensors that are not floats (masks, position ids) must be equal, since
    there is no meaning in their difference. Only headers, tokenizers and those tensors are read.

    Args:
        base: the base.
        experts: by name.
        by_token: whether rows were matched by token, so that ids may differ.
        has_recipe: whether there is a recipe that could say what becomes of differences.

    Raises:
        InputError: names the expert, the tensor or token, and both sides of the difference.
    """
    for name, expert in experts.items():
        called = f"Expert {name!r} ({expert.folder})"
        _check_model_type(called, base, expert)
        _check_names(called, base, expert, has_recipe)
        for tensor in base.names:
            _check_shape(called, tensor, base, expert)
        if not by_token:
            _check_tokens(called, base.home, expert.tokenizer_folder, has_recipe)
        for tensor in base.names:
            _check_dtype(called, tensor, base, expert)


def refuse_remote_code(base: Checkpoint, experts: Mapping[str, Checkpoint]) -> None:
    """Refuse a configuration that asks for code of its own, which the merged checkpoint would ask for too.

    Merging runs none of it; whoever loads the result would.

    Raises:
        InputError: names the checkpoint.
    """
    named = {"The base": base} | {f"Expert {name!r}": expert for name, expert in experts.items()}
    for called, checkpoint in named.items():
        if file := asks_for_code(checkpoint):
            raise InputError(
                f"{called} ({checkpoint.folder}) asks for code of its own to be run (`auto_map` in {file}); "
                "say `trust_remote_code: true` in the recipe if you trust it."
            )


def refuse_tokenizer_code(folder: Path) -> None:
    """Refuse a tokenizer that asks for code of its own, which the merged checkpoint would ask for too.

    Raises:
        InputError: names the folder.
    """
    settings = folder / "tokenizer_config.json"
    if settings.is_file() and "auto_map" in read_mapping(settings):
        raise InputError(
            f"The tokenizer in {folder} asks for code of its own to be run (`auto_map` in {settings.name}); "
            "say `trust_remote_code: true` in the recipe if you trust it."
        )


def asks_for_code(checkpoint: Checkpoint) -> str | None:
    """Return the name of the file in which a checkpoint asks for code of its own, None where it does not."""
    if "auto_map" in checkpoint.config:
        return "config.json"
    tokenizer = checkpoint.home / "tokenizer_config.json"
    return tokenizer.name if tokenizer.is_file() and "auto_map" in read_mapping(tokenizer) else None


def _check_model_type(called: str, base: Checkpoint, expert: Checkpoint) -> None:
    ours, theirs = base.config.get("model_type"), expert.config.get("model_type")
    if ours != theirs:
        raise InputError(
            f"{called} has model_type {theirs!r} but the base has {ours!r}; merge models of one kind."
        )


def _check_names(called: str, base: Checkpoint, expert: Checkpoint, has_recipe: bool) -> None:
    missing = sorted(set(base.names) - set(expert.names))
    extra = sorted(set(expert.names) - set(base.names))
    advice = "an expert must be the base fine-tuned, with the same tensors"
    if has_recipe:
        advice += "; to merge the rest all the same, say `missing: base` in the recipe"
    tie_advice = TIE_ADVICE if has_recipe else "take models that tie alike."
    if missing:
        if missing[0] in class_ties(expert):
            raise InputError(
                f"{called} ties {missing[0]!r} to another table and the base does not; {tie_advice}"
            )
        raise InputError(
            f"{called} lacks tensor {missing[0]!r}{and_more(missing)} that the base has; {advice}."
        )
    if extra:
        if extra[0] in class_ties(base):
            raise InputError(f"{called} has {extra[0]!r}, which the base ties to another table; {tie_advice}")
        raise InputError(f"{called} has tensor {extra[0]!r}{and_more(extra)} that the base lacks; {advice}.")


def _check_shape(called: str, tensor: str, base: Checkpoint, expert: Checkpoint) -> None:
    ours, theirs = base.info(tensor).shape, expert.info(tensor).shape
    if ours == theirs:
        return
    # A table whose rows are counted by vocab_size on both sides differs because the vocabularies do.
    table = bool(ours and theirs) and ours[1:] == theirs[1:]
    if table and (ours[0], theirs[0]) == (vocabulary_size(base.config), vocabulary_size(expert.config)):
        raise InputError(
            f"{called} has a vocabulary of {theirs[0]} rows in {tensor!r} but the base has {ours[0]}; "
            "to match rows by token, both need a tokenizer with a tokenizer.json or vocab.json beside them."
        )
    raise InputError(
        f"{called}: tensor {tensor!r} has shape {list(theirs)} but the base has {list(ours)}; "
        "an expert must be the base fine-tuned, with the same shapes."
    )


def _check_tokens(called: str, base: Path, expert: Path, has_recipe: bool) -> None:
    ours, theirs = both_vocabularies(base, expert)
    moved = [token for token, place in ours.items() if theirs.get(token, place) != place]
    if moved:
        token = min(moved, key=lambda token: (ours[token], token))
        advice = ", or say `tokenizer: union` in the recipe" if has_recipe else ""
        raise InputError(
            f"{called} maps token {token!r} to id {theirs[token]} but the base maps it to {ours[token]}; "
            f"take models of one tokenizer{advice}."
        )


def _check_dtype(called: str, tensor: str, base: Checkpoint, expert: Checkpoint) -> None:
    ours, theirs = base.info(tensor).dtype, expert.info(tensor).dtype
    if ours in FLOATS and theirs in FLOATS:
        return
    if ours != theirs:
        raise InputError(
            f"{called}: tensor {tensor!r} has dtype {theirs} but the base has {ours}, "
            "and only floats of 16 bits or more can be merged; store it alike in both."
        )
    numel = base.info(tensor).numel
    if not np.array_equal(base.raw(tensor, 0, numel), expert.raw(tensor, 0, numel)):
        raise InputError(
            f"{called}: tensor {tensor!r} of dtype {ours} differs from the base's, "
            "and only floats of 16 bits or more can be merged; it must be equal in both."
        )
