"""Getting a merge ready: everything opened and checked before a byte is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from merging.aligned import Aligned, align_names, fill_missing
from merging.blocks import BLOCK, BLOCK_ON_DEVICE, Block, blocks, usual_threads
from merging.checkpoints.adapted import open_checkpoint
from merging.checkpoints.adapter import WEIGHTS
from merging.checkpoints.checkpoint import Checkpoint, TensorInfo
from merging.checkpoints.digests import tokenizer_digest
from merging.checkpoints.dtypes import BY_NAME, FLOATS, NBYTES
from merging.checkpoints.tied import same_ties
from merging.checkpoints.when_used import torch
from merging.compatible import check_compatible, refuse_remote_code, refuse_tokenizer_code
from merging.differences import SettingDifference, compare_settings
from merging.factors import open_factors
from merging.groups import Group, settings_groups
from merging.known_methods import find_method
from merging.learned_method import LearnedMethod
from merging.measured_method import MeasuredMethod
from merging.merged_template import merged_template, without_notice
from merging.method import Method
from merging.provenance import MERGING_VERSION, described, versions
from merging.recipe import Missing, Recipe, absolute_recipe
from merging.stacks import stack_notices
from merging.task_vectors import TaskVectors
from merging.vocabularies import MergedVocabulary, merged_vocabulary
from merging.vocabulary_views import in_vocabulary, settings_in_vocabulary
from merging.write import Shard, plan_shards
from results.errors import InputError
from results.json_values import cache_key

_TIE = "config.tie_word_embeddings"


@dataclass(frozen=True)
class Prepared:
    """A merge that can start.

    Attributes:
        recipe: what was asked for.
        groups: the tensors that are merged alike, with the method and the weights; all in one, or several
            where settings differ.
        vectors: the task vectors; the experts are in the order of their names, whatever the recipe's.
        differences: in what else than weights the experts differ from the base, and why that may be.
        shards: the files that will be written.
        block_size: entries in a block.
        threads: how many blocks are worked on at once: one for each core, or two on an accelerator.
        chat_template: that of the merged model, where it is not the base's; text, or several by name.
        notices: what was done to make the checkpoints fit together, a sentence each.
        vocabulary: the merged model's tokens, where they are not simply the base's.
    """

    recipe: Recipe
    groups: tuple[Group, ...]
    vectors: TaskVectors
    differences: tuple[SettingDifference, ...]
    shards: tuple[Shard, ...]
    block_size: int
    threads: int
    chat_template: Any = None
    notices: tuple[str, ...] = ()
    vocabulary: MergedVocabulary | None = None

    @property
    def method(self) -> Method:
        """The method with its settings, those of the first tensors where they differ."""
        return self.groups[0].method

    @cached_property
    def group_of(self) -> Mapping[str, int]:
        """The place of each tensor's group in `groups`."""
        return {name: i for i, group in enumerate(self.groups) for name in group.names}

    @property
    def passes(self) -> tuple[str, ...]:
        """Names of the first passes."""
        return tuple(dict.fromkeys(title for group in self.groups for title in group.method.first_passes()))

    @property
    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """The base and the experts."""
        return (self.vectors.base, *self.vectors.experts.values())

    def with_digests(self) -> Prepared:
        """Return the same with the digests of the experts' weights, by which random numbers are drawn."""
        digests = tuple(expert.identity().weights for expert in self.vectors.experts.values())
        return replace(self, vectors=replace(self.vectors, digests=digests))

    def output_blocks(self) -> Iterator[tuple[TensorInfo, Block]]:
        """Yield every block of the output in the order in which they are merged."""
        for shard in self.shards:
            for tensor in shard.tensors:
                method = self.groups[self.group_of.get(tensor.name, 0)].method
                position = self.vectors.positions.get(tensor.name)
                scope = method.scope_of(tensor.shape, position.layer if position else None)
                for block in blocks(tensor.shape, scope, self.block_size):
                    yield tensor, block

    @property
    def largest_block(self) -> int:
        """Entries in the largest block."""
        return max((block.stop - block.start for _, block in self.output_blocks()), default=0)

    @property
    def memory(self) -> int:
        """Bytes that blocks take at most, about.

        Beside them are the program itself, and the mapped files, whose pages the system takes back where it
        needs them.
        """
        # The base, the task vectors, as much again for what the method makes of them, and a few sums.
        floats = 2 * len(self.vectors.experts) + 8
        return self.threads * self.largest_block * floats * NBYTES["F32"]

    def key(self) -> str:
        """Return a digest of all that decides the output's bytes, and of the machine's start.

        Input files count by name, size and time of their last change. What a stopped merge wrote may not have
        reached the disk when the machine itself stopped, so a merge is resumed only before a restart.
        """
        stamps = [
            [_stamp(checkpoint.folder / name) for name in checkpoint.files] for checkpoint in self.checkpoints
        ]
        device = [self.block_size, self.vectors.device]
        return cache_key([self._made_from(), stamps, device, versions(), _machine_start()])

    def made_from(self) -> str:
        """Return a digest of all that decides what is merged, on whatever machine; reads every input file."""
        return cache_key([self._made_from(), [one.identity().model_dump() for one in self.checkpoints]])

    def _made_from(self) -> list[Any]:
        return [
            absolute_recipe(self.recipe).model_dump(mode="json", exclude={"method"}),
            [[described(group.method), group.weights.tolist(), group.names] for group in self.groups],
            [checkpoint.config for checkpoint in self.checkpoints],
            self.chat_template,
            self.vocabulary and [dict(self.vocabulary.tokens), tokenizer_digest(self.vocabulary.folder)],
            MERGING_VERSION,
        ]


def prepare(recipe: Recipe, device: str = "cpu", block_size: int | None = None) -> Prepared:
    """Open and check what a recipe names.

    Args:
        recipe: what to merge.
        device: where to compute: `cpu`, `cuda`, `cuda:1`.
        block_size: entries in a block; None takes what suits the device.

    Raises:
        InputError: something about the recipe or a checkpoint is wrong.
    """
    method_class = find_method(recipe.method.name).method_class
    if recipe.space == "factors" and issubclass(method_class, LearnedMethod):
        raise InputError(
            f"Method {recipe.method.name!r} has coefficients of whole task vectors: take the space 'delta'."
        )
    if recipe.space == "factors" and issubclass(method_class, MeasuredMethod):
        raise InputError(f"Method {recipe.method.name!r} measures whole experts: take the space 'delta'.")
    where = _device(device)
    specs = dict(sorted(recipe.experts.items()))
    paths = {name: spec.path for name, spec in specs.items()}
    if recipe.space == "factors":
        stored = open_factors(recipe.base, paths)
        aligned = Aligned(*stored)
    else:
        stored, aligned = _fitted(recipe.base, paths, recipe.missing, apart=_TIE in recipe.accept_differences)
    base, experts, merged = aligned.base, aligned.experts, None
    if recipe.space == "delta":
        merged = merged_vocabulary(base, experts, recipe.tokenizer, recipe.pad_to_multiple_of, recipe.tokens)
    elif recipe.tokenizer != "base" or recipe.pad_to_multiple_of is not None or recipe.tokens:
        raise InputError(
            "Factors of adapters have no rows of tokens: leave `tokenizer`, `tokens` and "
            "`pad_to_multiple_of` out, or take the space 'delta'."
        )
    if merged is not None:
        base, experts = in_vocabulary(merged, base, experts)
        stored = settings_in_vocabulary(merged, *stored)
    if not recipe.trust_remote_code:
        refuse_remote_code(base, experts)
        if merged is not None:
            refuse_tokenizer_code(merged.folder)
    check_compatible(base, experts, by_token=merged is not None and merged.by_token)
    template = merged_template(recipe, *stored)
    of_stacks = stack_notices((stored[0], *stored[1].values()), recipe)
    differences = without_notice(compare_settings(*stored, recipe.accept_differences, merged), recipe)
    vectors = TaskVectors(
        base,
        experts,
        seed=recipe.seed,
        device=where,
        notices=aligned.notices,
    )
    planned = [_output(base.info(name), recipe.output_dtype) for name in base.names]
    groups = settings_groups(recipe, vectors.names, vectors.positions)
    for group in groups:
        if isinstance(group.method, MeasuredMethod):
            group.method.check(tuple(experts))
    return Prepared(
        recipe,
        groups,
        vectors,
        differences,
        _shards(planned, recipe),
        block_size or (BLOCK if vectors.on_cpu else BLOCK_ON_DEVICE),
        usual_threads() if vectors.on_cpu else min(usual_threads(), 2),
        template,
        (*recipe.notices, *vectors.notices, *of_stacks, *(merged.notices if merged else ())),
        merged,
    )


def task_vectors(base: str, experts: Mapping[str, str], device: str = "cpu") -> TaskVectors:
    """Open and check a base and experts, for their differences block by block.

    Raises:
        InputError: they do not fit together.
    """
    where = _device(device)
    _, aligned = _fitted(base, experts)
    opened_base, opened_experts = aligned.base, aligned.experts
    if (merged := merged_vocabulary(opened_base, opened_experts)) is not None:
        opened_base, opened_experts = in_vocabulary(merged, opened_base, opened_experts)
    check_compatible(opened_base, opened_experts, has_recipe=False)
    return TaskVectors(opened_base, opened_experts, device=where, notices=aligned.notices)


def _fitted(
    base: str, experts: Mapping[str, str], missing: Missing = "refuse", *, apart: bool = False
) -> tuple[tuple[Checkpoint, dict[str, Checkpoint]], Aligned]:
    """Return checkpoints as they are stored, and with like names, ties and tensors."""
    stored = _open(base, experts)
    named = align_names(*stored)
    filled = fill_missing(*same_ties(named.base, named.experts, apart=apart), missing)
    return stored, replace(filled, notices=(*named.notices, *filled.notices))


def _open(base: str, experts: Mapping[str, str]) -> tuple[Checkpoint, dict[str, Checkpoint]]:
    return open_checkpoint(base), {name: open_checkpoint(path) for name, path in experts.items()}


def _shards(tensors: Sequence[TensorInfo], recipe: Recipe) -> tuple[Shard, ...]:
    """The files of a merge; peft and others read an adapter from one file of its name."""
    if recipe.space == "delta":
        return plan_shards(tensors, recipe.max_shard_size)
    (only,) = plan_shards(tensors, sum(tensor.nbytes for tensor in tensors))
    return (replace(only, name=WEIGHTS),)


def _device(name: str) -> str:
    """Return a device's name as torch has it; the CPU is there without torch."""
    if name == "cpu":
        return name
    try:
        device = torch.device(name)
        torch.empty(1, device=device).add_(1).cpu()
    except (RuntimeError, AssertionError) as error:
        # torch's own: an unknown name, no such device or one that is full, or a build without its kind.
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(
            f"The device {name!r} cannot be used ({reason}); leave it out for the CPU."
        ) from error
    return str(device)


def _output(info: TensorInfo, dtype: str | None) -> TensorInfo:
    if dtype is None or info.dtype not in FLOATS:
        return info
    return TensorInfo(info.name, BY_NAME[dtype], info.shape)


def _stamp(path: Path) -> list[Any]:
    status = path.stat()
    return [str(path.resolve()), status.st_size, status.st_mtime_ns]


def _machine_start() -> str:
    """Return a name for the time since the machine was started, where the system has one."""
    boot_id = Path("/proc/sys/kernel/random/boot_id")
    return boot_id.read_text().strip() if boot_id.is_file() else ""
