"""A LoRA adapter of a whole fine-tuned model: the best approximation of each task vector by a low rank."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import sqrt
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from merging.blocks import Block
from merging.checkpoints.adapted import AdaptedCheckpoint, open_checkpoint
from merging.checkpoints.adapter import CONFIG, PEFT_PREFIX, WEIGHTS
from merging.checkpoints.checkpoint import Checkpoint
from merging.checkpoints.stacked import StackedCheckpoint
from merging.checkpoints.tied import class_ties
from merging.checkpoints.token_rows import empty_model, vocabulary_size
from merging.checkpoints.tokenizer_files import copy_tokenizer
from merging.differences import compare_settings, notices
from merging.prepare import task_vectors
from merging.provenance import versions
from merging.staging import refuse_existing, resumable
from merging.task_vectors import TaskVectors
from results.errors import InputError
from results.json_values import cache_key

logger = logging.getLogger("manyshot.merging")
REPORT = "extract.json"
_NO_MODULES = "dummy-target-modules"
"""As peft says that there are factors of none; an empty list it refuses."""


@dataclass
class _Extracted:
    """What an adapter will hold, and how far it is from the expert.

    Attributes:
        model: without weights.
        kinds: the class of each of its modules, by name.
        rank: most terms of a matrix.
        tensors: of the adapter's file, by name.
        ranks: of the modules with factors.
        saved: modules that are kept whole.
        errors: ‖Δ − B·A‖ / ‖Δ‖ of each tensor that differs.
        lost, all: sums of squares of Δ − B·A and of Δ.
        notices: what of the expert the adapter does not have, a sentence each.
    """

    model: torch.nn.Module
    kinds: Mapping[str, type]
    rank: int
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    ranks: dict[str, int] = field(default_factory=dict)
    saved: set[str] = field(default_factory=set)
    errors: dict[str, float] = field(default_factory=dict)
    lost: float = 0.0
    all: float = 0.0
    notices: list[str] = field(default_factory=list)

    def note(self, name: str, total: float, lost: float) -> None:
        """Note a tensor's sums of squares."""
        self.errors[name] = sqrt(lost / total)
        self.lost, self.all = self.lost + lost, self.all + total


def extract(base: str, expert: str, out: Path, rank: int) -> Path:
    """Write an adapter whose products are nearest, in the Frobenius norm, to an expert's task vector.

    Each matrix of a linear layer or an embedding has the first `rank` terms of its singular value
    decomposition, √S on either side, computed in float32. Modules without a matrix (norms) are kept whole.
    What an adapter has no place for is left out: a bias beside a matrix, the tied table of an
    encoder-decoder, a parameter beside other modules. `extract.json` has the relative error of each tensor, 1
    for those, and of the whole.

    Args:
        base: folder or hub name of the base, a whole model, since an adapter names it by its folder.
        expert: of the fine-tuned model.
        out: folder to write; it must not exist.
        rank: most terms of a matrix.

    Returns:
        `out`.

    Raises:
        InputError: the base is a stack or an adapter, the two do not fit together or do not differ, or what
            differs are layers that LoRA keeps
            transposed or tensors that the model's class does not name.
    """
    refuse_existing(out)
    opened, tuned = open_checkpoint(base), open_checkpoint(expert)
    if isinstance(opened, StackedCheckpoint | AdaptedCheckpoint):
        kind = "a stack of blocks" if isinstance(opened, StackedCheckpoint) else "an adapter"
        raise InputError(
            f"{base} is {kind}, and an adapter names its base by the folder of a whole model: merge it into "
            "one first."
        )
    ours, theirs = (vocabulary_size(one.config) for one in (opened, tuned))
    if ours != theirs:
        raise InputError(
            f"{expert} has tables of {theirs} rows and {base} of {ours}, which no adapter changes; resize "
            "the base's to the expert's tokens first."
        )
    found = _Extracted(*_described(opened), rank)
    found.notices += notices(compare_settings(opened, {"expert": tuned}, has_recipe=False))
    vectors = task_vectors(base, {"expert": expert})
    found.notices += vectors.notices
    for name in vectors.names:
        delta, _ = vectors.read(name, _whole(vectors, name), {})
        if delta.any():
            _add(found, vectors, name, delta[0])
    if not found.errors:
        raise InputError(f"{expert} has the base's weights: there is nothing to extract.")
    identities = {"base": opened.identity().weights, "expert": tuned.identity().weights}
    report = {
        **identities,
        "rank": rank,
        "error": sqrt(found.lost / found.all),
        "tensors": dict(sorted(found.errors.items())),
        "notices": found.notices,
        "versions": versions(),
    }
    with resumable(out, cache_key(report)) as folder:
        save_file(found.tensors, folder / WEIGHTS, metadata={"format": "pt"})
        config = _config(found, opened)
        for name, content in ((CONFIG, config), (REPORT, report)):
            (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        copy_tokenizer(tuned.tokenizer_folder, folder)
    for notice in found.notices:
        logger.warning("%s: %s", out, notice)
    return out


def low_rank(delta: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Return B (rows, rank) and A (rank, columns), and the sum of squares of what B·A leaves of a matrix."""
    left, values, right = torch.linalg.svd(delta, full_matrices=False)
    kept = min(rank, len(values))
    roots = values[:kept].sqrt()
    lost = values[kept:].double().square().sum().item()
    return (left[:, :kept] * roots).contiguous(), (roots[:, None] * right[:kept]).contiguous(), lost


def _whole(vectors: TaskVectors, name: str) -> Block:
    info = vectors.base.info(name)
    return Block(0, info.numel, info.shape)


def _described(base: Checkpoint) -> tuple[torch.nn.Module, Mapping[str, type]]:
    """Return a model without weights, and the class of each module by its name."""
    from transformers.pytorch_utils import Conv1D

    model = empty_model(base.config)
    if model is None:
        raise InputError(
            f"{base.folder} is of a kind whose layers are not known "
            f"(`model_type: {base.config.get('model_type')}`), so that no adapter can be extracted."
        )
    kinds = {name: type(module) for name, module in model.named_modules(remove_duplicate=False)}
    for name, kind in kinds.items():
        if issubclass(kind, Conv1D):
            raise InputError(
                f"{base.folder} keeps {name!r} transposed (Conv1D), of which no adapter is extracted; linear "
                "layers are expected."
            )
    return model, kinds


def _add(found: _Extracted, vectors: TaskVectors, name: str, delta: torch.Tensor) -> None:
    base, (module, _, parameter) = vectors.base, name.rpartition(".")
    kind = found.kinds.get(module)
    if kind is None or not hasattr(found.model.get_submodule(module), parameter):
        raise InputError(
            f"{base.folder} stores {name!r}, which {type(found.model).__name__} has under another name or in "
            "one tensor with others (as experts of a mixture), so that no adapter of it can be extracted."
        )
    total = delta.double().square().sum().item()
    if parameter == "weight" and issubclass(kind, torch.nn.Linear | torch.nn.Embedding):
        if issubclass(kind, torch.nn.Embedding) and _is_shared(base, name):
            found.notices.append(f"{name!r} differs and is left out: an encoder-decoder ties it")
            found.note(name, total, total)
            return
        b, a, lost = low_rank(delta, found.rank)
        # Tables that are tied are two modules to peft, each with its own adapter beside it.
        for other in {module, *(pair.removesuffix(".weight") for pair in _tied(base, name))}:
            _add_factors(found, other, found.kinds.get(other, kind), a, b)
        found.note(name, total, lost)
        return
    whole = [one for one in vectors.names if one.rpartition(".")[0] == module]
    has_parts = any(True for _ in found.model.get_submodule(module).children())
    if has_parts or any(base.info(one).shape != delta.shape for one in whole):
        found.note(name, total, total)  # as a bias beside a matrix, for which plain LoRA has no place
        return
    expert = next(iter(vectors.experts.values()))
    found.saved.add(module)
    found.tensors |= {f"{PEFT_PREFIX}{one}": expert.tensor(one).contiguous().clone() for one in whole}
    found.note(name, total, 0.0)


def _has_tokens(base: Checkpoint, name: str) -> bool:
    return base.info(name).shape[:1] == (vocabulary_size(base.config),)


def _is_shared(base: Checkpoint, name: str) -> bool:
    """Whether an embedding is that of an encoder and a decoder, whatever becomes of the head."""
    return bool(base.config.get("is_encoder_decoder")) and _has_tokens(base, name)


def _tied(base: Checkpoint, name: str) -> list[str]:
    if not _has_tokens(base, name):
        return []
    return [duplicate for duplicate, table in class_ties(base).items() if table == name]


def _add_factors(found: _Extracted, module: str, kind: type, a: torch.Tensor, b: torch.Tensor) -> None:
    found.ranks[module] = len(a)
    start = f"{PEFT_PREFIX}{module}.lora_"
    if issubclass(kind, torch.nn.Embedding):  # its product is (B·A)ᵀ
        found.tensors |= {f"{start}embedding_A": b.T.contiguous(), f"{start}embedding_B": a.T.contiguous()}
    else:
        found.tensors |= {f"{start}A.weight": a.clone(), f"{start}B.weight": b.clone()}


def _config(found: _Extracted, base: Checkpoint) -> dict[str, Any]:
    smaller = {module: own for module, own in sorted(found.ranks.items()) if own < found.rank}
    return {
        "peft_type": "LORA",
        "task_type": "SEQ_2_SEQ_LM" if base.config.get("is_encoder_decoder") else "CAUSAL_LM",
        "base_model_name_or_path": str(base.folder.resolve()),
        "inference_mode": True,
        "r": found.rank,
        "lora_alpha": found.rank,
        "rank_pattern": smaller,
        "alpha_pattern": smaller,
        "target_modules": sorted(found.ranks) or _NO_MODULES,
        "modules_to_save": sorted(found.saved) or None,
    }
