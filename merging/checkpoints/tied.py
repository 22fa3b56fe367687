"""Tied weights: one tensor that a model uses in two places and a file may store twice; and unused ones.

Which names are tied is transformers' own knowledge: the configuration says whether (`tie_word_embeddings`,
with the model type's default where the key is absent) and the model class says which.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from merging.checkpoints.checkpoint import Checkpoint
from results.errors import InputError

TIE_ADVICE = (
    "merge models that tie alike, or say `accept_differences: [config.tie_word_embeddings]` in the recipe, "
    "which takes the tables of all apart."
)
_COMPARED_AT_ONCE = 2**20


def without_duplicates(checkpoint: Checkpoint) -> Checkpoint:
    """Return the checkpoint with every tied weight once, under the name of the embedding.

    A checkpoint that stores the output head and one that leaves it out then hold the same tensors. What the
    model class does not read, such as a tensor in old files of T5, is left out.

    Raises:
        InputError: a stored duplicate differs from the embedding that the configuration ties it to.
    """
    ties = _ties(checkpoint)
    unread = _unread(checkpoint)
    names = {name: name for name in checkpoint.names if name not in ties and name not in unread}
    for duplicate, embedding in ties.items():
        if duplicate not in checkpoint.names:
            continue
        kept = names.setdefault(embedding, duplicate)
        if kept != duplicate and not _equal(checkpoint, kept, duplicate):
            raise InputError(
                f"{checkpoint.folder}: tensor {duplicate!r} differs from {kept!r}, "
                'though config.json ties the two; set "tie_word_embeddings": false there if both are meant, '
                "or save the model again."
            )
    return checkpoint.showing(names)


def untied(checkpoint: Checkpoint) -> Checkpoint:
    """Return the checkpoint with every tied weight under each of its names, and said to be untied."""
    ties = class_ties(checkpoint)
    if not ties:
        return checkpoint
    single = without_duplicates(checkpoint)
    names = {name: name for name in single.names}
    both = single.showing(names | {duplicate: table for duplicate, table in ties.items() if table in names})
    both.config = {**both.config, "tie_word_embeddings": False}
    both.was_tied = True
    return both


def same_ties(
    base: Checkpoint, experts: Mapping[str, Checkpoint], *, apart: bool = False
) -> tuple[Checkpoint, dict[str, Checkpoint]]:
    """Return checkpoints without duplicates; all have their tables apart where an adapter made one's so.

    Args:
        base: the base.
        experts: by name.
        apart: whether tables that any of them ties are taken apart in all.
    """
    views = [without_duplicates(opened) for opened in (base, *experts.values())]
    if apart or any(view.was_tied for view in views):
        views = [untied(view) for view in views]
    return views[0], dict(zip(experts, views[1:], strict=True))


def _unread(checkpoint: Checkpoint) -> set[str]:
    """Return the tensors that the model class says it does not read; only encoder-decoders have some."""
    if not checkpoint.config.get("is_encoder_decoder"):
        return set()
    patterns = getattr(model_class(checkpoint.config), "_keys_to_ignore_on_load_unexpected", None) or ()
    return {name for name in checkpoint.names if any(re.search(pattern, name) for pattern in patterns)}


def _ties(checkpoint: Checkpoint) -> dict[str, str]:
    """Return duplicate -> embedding by the model class; empty where nothing can be stored twice."""
    config = checkpoint.config
    are_tied = config.get("tie_word_embeddings")
    rows = config.get("vocab_size")
    # Importing a model class takes seconds, so it is not done for the embedding alone, nor for an embedding
    # and a head that the configuration calls two.
    if isinstance(rows, int):
        tables = [name for name in checkpoint.names if checkpoint.info(name).shape[:1] == (rows,)]
        if len(tables) < 2 or (are_tied is False and len(tables) == 2):
            return {}
    ties = class_ties(checkpoint)
    if are_tied is False:
        # T5 1.1: the encoder's and the decoder's table are one although the key says false of the head.
        ties = {
            duplicate: table for duplicate, table in ties.items() if not duplicate.endswith("lm_head.weight")
        }
    return ties


def class_ties(checkpoint: Checkpoint) -> dict[str, str]:
    """Return duplicate -> embedding as the model class has it, stored or not; empty where nothing is tied."""
    import transformers

    config = checkpoint.config
    kind, are_tied = config.get("model_type"), config.get("tie_word_embeddings")
    try:
        settled = transformers.AutoConfig.for_model(
            kind, **({} if are_tied is None else {"tie_word_embeddings": are_tied})
        )
    except ValueError:
        return {}
    if not getattr(settled, "tie_word_embeddings", False):
        return {}
    return dict(getattr(model_class(config), "_tied_weights_keys", None) or {})


def model_class(config: Mapping[str, Any]) -> Any:
    """Return the class of transformers that a configuration is of; None where none is known."""
    import transformers
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    )

    architecture = (config.get("architectures") or [None])[0]
    classes = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES | MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES
    return getattr(transformers, architecture or classes.get(config.get("model_type"), ""), None)


def _equal(checkpoint: Checkpoint, first: str, second: str) -> bool:
    left, right = checkpoint.info(first), checkpoint.info(second)
    if (left.dtype, left.shape) != (right.dtype, right.shape):
        return False
    return all(
        np.array_equal(
            checkpoint.raw(first, start, start + _COMPARED_AT_ONCE),
            checkpoint.raw(second, start, start + _COMPARED_AT_ONCE),
        )
        for start in range(0, left.numel, _COMPARED_AT_ONCE)
    )
