"""What a merge method is: its settings, what it sees of the task vectors, and what it returns.

The fields of a method's class are its settings. It says how much of a tensor it must see at once (its scope)
and is called with that much of all task vectors; it returns the merged delta, which is added to the base.
What it needs to know of a whole tensor or of the whole model it may gather in first passes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field
from enum import StrEnum
from math import prod
from typing import Any, ClassVar, Protocol

from merging import noise
from merging.arithmetic import count_nonzero, sum_of_squares
from merging.checkpoints.when_used import torch
from merging.cost import Cost
from merging.mask_reach import MaskReach
from results.validation import Settings


class Scope(StrEnum):
    """How much of a tensor a method must see at once."""

    ELEMENT = "element"
    ROW = "row"
    TENSOR = "tensor"
    MODEL = "model"


HELD = {
    Scope.ELEMENT: "some blocks of every expert",
    Scope.ROW: "some rows of every expert",
    Scope.TENSOR: "one whole tensor of every expert",
    Scope.MODEL: "every expert",
}
"""What is in memory of the weights at a time, by the scope."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a block lies, and what is known of its tensor and of the merge.

    Attributes:
        tensor: the tensor's name.
        layer: index of the transformer block it belongs to, counted in its stack; None outside of blocks.
        depth: number of blocks in that stack; of the deepest stack for tensors outside of blocks.
        shape: shape of the whole tensor.
        offset: position of the block's first entry in the flattened tensor.
        tasks: the experts' names, in the order of the deltas.
        seed: the merge's seed.
        digests: the experts' weights digests, in the order of the deltas; empty for methods not `random`.
        statistics: what the first passes found, by the pass's name.
    """

    tensor: str
    layer: int | None
    depth: int
    shape: tuple[int, ...]
    offset: int
    tasks: tuple[str, ...] = ()
    seed: int = 0
    digests: tuple[str, ...] = ()
    statistics: Mapping[str, Any] = field(default_factory=dict)

    def stream(self, task: int) -> noise.Stream:
        """Return what the random numbers of one task are for. Only for methods with `random`."""
        return noise.Stream(self.seed, self.digests[task], self.tensor)


@dataclass(frozen=True, kw_only=True)
class Context(Place):
    """Where a block lies, and what is known beside its task vectors.

    Attributes:
        base: the base's block in float32, shaped like one task's delta. Not to be written into.
    """

    base: torch.Tensor

    def uniform(self, task: int) -> torch.Tensor:
        """Return uniform numbers in [0, 1) for one task's block, in its shape and in float32.

        They depend on the seed, the expert's weights, the tensor's name and each entry's position in it;
        not on the order of the experts, nor on files, blocks or device. Only for methods with `random`.
        """
        return noise.uniform(*self._stretch(task), self.base.device).reshape(self.base.shape)

    def keep_mask(self, task: int, probability: float) -> torch.Tensor:
        """Return which entries of one task's block are kept when each is kept with a probability.

        An int32 mask for `arithmetic.masked`, in the block's shape. Depends on what `uniform` depends on,
        and takes half its time.
        """
        mask = noise.keep_mask(*self._stretch(task), probability, self.base.device)
        return mask.reshape(self.base.shape)

    def _stretch(self, task: int) -> tuple[noise.Stream, int, int]:
        return self.stream(task), self.offset, self.offset + prod(self.base.shape)


@dataclass(frozen=True)
class MaskSums:
    """What a consensus mask keeps of Σ w_t τ_t; entries where the sum is 0 do not count.

    Attributes:
        kept: how many entries it keeps.
        entries: how many there are.
        kept_squares: the sum of their squares, of those that it keeps.
        squares: the same of all.
    """

    kept: float = 0
    entries: float = 0
    kept_squares: float = 0
    squares: float = 0

    def __add__(self, other: MaskSums) -> MaskSums:
        return MaskSums(*(ours + theirs for ours, theirs in zip(astuple(self), astuple(other), strict=True)))

    @classmethod
    def of(cls, kept: torch.Tensor, weighted_sum: torch.Tensor) -> MaskSums:
        """Count Σ w_t τ_t with zeros where there is no consensus, beside the whole of it."""
        counts = [count_nonzero(values) for values in (kept, weighted_sum)]
        return cls(*counts, *(sum_of_squares(values) for values in (kept, weighted_sum)))


@dataclass(frozen=True)
class MergedBlock:
    """A merged delta, with what the merge's report says of how a method came to it.

    Attributes:
        delta: the merged delta, float32, in the shape of one task's block.
        kept: what is left of each task vector after dropping entries, with zeros for what was dropped; None
            for a method that drops nothing.
        mask: what a consensus of masks keeps; None without one.
    """

    delta: torch.Tensor
    kept: Sequence[torch.Tensor] | None = None
    mask: MaskSums | None = None


class FirstPass(Protocol):
    """One reading of all task vectors, before the merge, that ends in a statistic.

    Every tensor of floats is seen in flat pieces of `task_vectors.PIECE` entries, whatever the blocks of the
    merge, and parts are combined in one fixed order, so a statistic is the same number each time. Pieces are
    observed on several threads.
    """

    def start(self, n_tasks: int) -> Any:
        """Return the empty total."""

    def observe(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> Any:
        """Return the part of one piece: deltas (n_tasks, length); context has the earlier statistics."""

    def combine(self, total: Any, part: Any) -> Any:
        """Return the total with a part added; the total may be changed in place."""

    def finish(self, total: Any) -> Any:
        """Return the statistic, which later passes and the method find in `context.statistics`.

        It is kept as JSON, so that a killed merge need not find it again: numbers, texts, lists and mappings
        with texts as keys.
        """


@dataclass(frozen=True)
class MethodPreset:
    """Settings of a method in rounds that go together, such as those of a paper's code.

    Attributes:
        about: where they come from.
        settings: of the method; a list has one value a round.
        weighting: of the tasks, as an experiment says it.
    """

    about: str
    settings: Mapping[str, Any]
    weighting: Mapping[str, Any]


class Method(Settings):
    """A merge method; its fields are its settings, and `known_methods.register` gives it a name.

    Attributes:
        scope: over how much a method decides together. `element` methods get flat blocks (n_tasks, length);
            `row` methods get whole rows along the last dimension (n_tasks, rows, length); `tensor` methods
            get (n_tasks, *shape).
        streamed: whether a method of scope `tensor` or `model` takes what it must know of them from first
            passes, and gets flat blocks as an `element` method does.
        takes: how many experts it merges; None for any number.
        random: whether `Context.uniform` or `Context.keep_mask` is used, for which the experts are digested
            beforehand.
        presets: settings for an experiment by name.
    """

    scope: ClassVar[Scope]
    streamed: ClassVar[bool] = False
    takes: ClassVar[int | None] = None
    random: ClassVar[bool] = False
    presets: ClassVar[Mapping[str, MethodPreset]] = {}

    @property
    def block_scope(self) -> Scope:
        """How tensors are cut into the blocks that it is called with."""
        return Scope.ELEMENT if self.streamed else self.scope

    def scope_of(self, shape: tuple[int, ...], layer: int | None) -> Scope:
        """How a tensor is cut, by its shape and the transformer block that it belongs to (None for none)."""
        return self.block_scope

    @property
    def decides_over_model(self) -> bool:
        """Whether what becomes of a tensor hangs on the others, so that all must have the same settings."""
        return self.scope == Scope.MODEL

    @property
    def cost(self) -> Cost:
        """What it needs and costs; to be declared by methods that use data."""
        return Cost(passes=1 + len(self.first_passes()), held=HELD[self.block_scope])

    def first_passes(self) -> Mapping[str, FirstPass]:
        """Return the passes that run before the merge, in order, by the name of their statistic."""
        return {}

    def mask_reach(self, weights: Mapping[str, float]) -> MaskReach | None:
        """Return whether what all tasks agree on can pass its consensus mask; None without a mask.

        Args:
            weights: of the recipe, by task.
        """
        return None

    @abstractmethod
    def __call__(
        self, deltas: torch.Tensor, weights: torch.Tensor, context: Context
    ) -> torch.Tensor | MergedBlock:
        """Merge one block.

        Blocks are merged on several threads, in any order. Results must not depend on where a block is cut:
        an operation along the entries belongs to a wider scope or to a first pass, and a sum over the tasks
        is made with `arithmetic.weighted_sum`, since a matrix product may round by its shape.

        Args:
            deltas: task vectors θ_t − θ₀ of the block, float32, (n_tasks, …) as the scope says, in the order
                of the experts' names. Not to be written into.
            weights: the recipe's weights, float32, (n_tasks,).
            context: where the block lies.

        Returns:
            The merged delta, float32, in the shape of one task's block; as a `MergedBlock` where the method
            drops entries or has a mask, so that the merge's report says how many are kept.
        """
