"""Merging the same experts again and again in memory: what all these merges share is made once.

A search merges one family by hundreds of settings. Checkpoints are opened, compared and digested once, task
vectors are kept as far as they fit, and the merged weights are written over each other in memory, bit for bit
those that `merge` writes to disk.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from merging.blocks import Block, one_torch_thread_each
from merging.checkpoints.digests import config_digest, tensor_digest, tokenizer_digest, weights_digest
from merging.checkpoints.dtypes import raw_bytes
from merging.groups import settings_groups
from merging.journal import Journal
from merging.measured_method import MeasuredMethod
from merging.merge_blocks import merge_blocks, run_first_passes
from merging.prepare import prepare
from merging.recipe import Recipe
from merging.task_vectors import TaskVectors
from merging.write import WeightsInMemory
from results.record import CheckpointIdentity

KEPT_BYTES = 2**31
"""Most bytes of task vectors that are kept between merges."""


@dataclass(frozen=True)
class MergedWeights:
    """A merged checkpoint in memory, until the next merge.

    Attributes:
        folder: the base's, which has its configuration and tokenizer.
        tensors: by name.
        identity: what it would be on disk.
    """

    folder: Path
    tensors: Mapping[str, torch.Tensor]
    identity: CheckpointIdentity


class RepeatedMerge:
    """Merges a base and experts by several recipes that differ in method, settings, weights and seed.

    Args:
        recipe: one of them.
        kept_bytes: most bytes of task vectors that are kept.

    Raises:
        InputError: something about the recipe or a checkpoint is wrong.
    """

    def __init__(self, recipe: Recipe, kept_bytes: int = KEPT_BYTES) -> None:
        prepared = prepare(recipe)
        of = prepared.vectors
        vectors = _KeptTaskVectors(of.base, of.experts, device=of.device, notices=of.notices, most=kept_bytes)
        self._prepared = replace(prepared, vectors=vectors)
        self._writer: WeightsInMemory | None = None

    @property
    def stays_beside_base(self) -> bool:
        """Whether a merged model has the base's own configuration and tokenizer, and no files of its own."""
        prepared, base = self._prepared, self._prepared.vectors.base
        return (
            prepared.recipe.space == "delta"
            and prepared.recipe.output_dtype is None
            and prepared.vocabulary is None
            and prepared.chat_template is None
            and base.home == base.folder
            and (base.folder / "config.json").is_file()
        )

    def merge(self, recipe: Recipe) -> MergedWeights:
        """Merge in memory; what was merged before is written over.

        Raises:
            InputError: the recipe is wrong, or merged weights do not fit into their dtype.
        """
        vectors = replace(self._prepared.vectors, seed=recipe.seed)
        groups = settings_groups(recipe, vectors.names, vectors.positions)
        for group in groups:
            if isinstance(group.method, MeasuredMethod):
                group.method.check(tuple(vectors.experts))
        prepared = replace(self._prepared, recipe=recipe, groups=groups, vectors=vectors)
        if prepared.method.random:
            prepared = prepared.with_digests()
        self._writer = self._writer or WeightsInMemory(prepared.shards)
        with Journal(None) as journal, one_torch_thread_each():
            statistics = [
                run_first_passes(
                    group, prepared.vectors, journal, prepared.threads, lambda *_: None, place=place
                )
                for place, group in enumerate(prepared.groups)
            ]
            merge_blocks(prepared, statistics, self._writer, journal, lambda *_: None)
        planned = [tensor for shard in prepared.shards for tensor in shard.tensors]
        base, tensors = prepared.vectors.base, self._writer.tensors
        identity = CheckpointIdentity(
            weights=weights_digest(
                (one.name, one.dtype, one.shape, tensor_digest(raw_bytes(tensors[one.name])))
                for one in planned
            ),
            config=config_digest(base.home),
            tokenizer=tokenizer_digest(base.home),
        )
        return MergedWeights(base.folder, tensors, identity)


@dataclass
class _Kept:
    """The base's blocks and the differences, by tensor and place, and how much they take."""

    blocks: dict[tuple[str, int, int], tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)
    nbytes: int = 0


@dataclass(frozen=True)
class _KeptTaskVectors(TaskVectors):
    """Task vectors whose blocks are kept once they are read.

    Attributes:
        most: bytes that may be kept.
        kept: what is kept.
    """

    most: int = KEPT_BYTES
    kept: _Kept = field(default_factory=_Kept, repr=False)

    def _differences(self, name: str, block: Block) -> tuple[torch.Tensor, torch.Tensor]:
        key = name, block.start, block.stop
        found = self.kept.blocks.get(key)
        if found is None:
            found = super()._differences(name, block)
            nbytes = sum(part.nbytes for part in found)
            if self.kept.nbytes + nbytes <= self.most:
                self.kept.nbytes += nbytes
                self.kept.blocks[key] = found
        return found
