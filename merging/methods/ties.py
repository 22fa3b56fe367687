"""TIES-Merging: trim small entries, elect a sign, and average the entries that have it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from merging.arithmetic import disjoint_mean, disjoint_sum, elected_sign, refuse_negative, weighted_sum
from merging.checkpoints.when_used import torch
from merging.kernels import INFINITY
from merging.known_methods import register
from merging.method import Context, FirstPass, MergedBlock, Method
from merging.sparse_kernels import merge_trimmed, trimmed_votes
from merging.stored_block import MergedStored, StoredBlock
from merging.thresholds import Bounds, Ranking

MAJORITY = "majority sign"
_Density = Annotated[float, Field(gt=0, le=1)]


@register("ties", paper="https://arxiv.org/abs/2306.01708")
class Ties(Method):
    """θ = θ₀ + λ τ, with τ the disjoint mean of trimmed task vectors.

    1. Trim: of each τ_t of d entries keep those whose magnitude is at least the (d − ⌊K·d⌋)-th smallest, K
       being `density`.
    2. Elect: s = sgn(Σ_t w_t τ̂_t) for each entry; where the sum is 0, the sign that most entries have.
    3. Merge: τ = Σ w_t τ̂_t / Σ w_t over the tasks with sgn(τ̂_t) = s, 0 where there are none.

    The paper has no weights w_t, and λ = 1 where it cannot be tuned.
    """

    density: _Density | dict[str, _Density] = 0.2
    """K, the share of entries kept, one number for all tasks or one for each by the experts' names."""
    scaling: float = 1.0
    """λ."""
    variant: Literal["paper", "mergekit", "peft"] = "paper"
    """`paper` is the above, over the whole model. `mergekit` and `peft` rank within each tensor, keep exactly
    max(1, ⌊K·d⌋) entries, and elect + where the sum is 0; `peft` votes without the weights, and divides
    Σ w_t τ̂_t by the number of tasks that have the sign."""
    scope: Literal["model", "tensor"] | None = None  # type: ignore[assignment, misc]
    """Rank over the whole `model` or within each `tensor`; null takes the variant's own."""
    vote: Literal["total", "frequency"] = "total"
    """Elect by the `total` of the entries, or by the `frequency` of their signs (PEFT's other way)."""
    aggregate: Literal["mean", "sum"] = "mean"
    """The disjoint `mean`, or the disjoint `sum` of AdaMerging's and MergeBench's code."""

    streamed: ClassVar[bool] = True

    @model_validator(mode="before")
    @classmethod
    def _take_the_variants_scope(cls, settings: Any) -> Any:
        if not isinstance(settings, dict) or settings.get("scope") is not None:
            return settings
        return {**settings, "scope": "model" if settings.get("variant", "paper") == "paper" else "tensor"}

    def first_passes(self) -> dict[str, FirstPass]:
        """Return the passes that find the thresholds and, for the paper's rule, the majority sign."""
        ranking = self._ranking
        passes = ranking.passes() if ranking else {}
        if self.variant == "paper":
            passes[MAJORITY] = MajoritySign(self._trimmed, self._votes, self._stored_votes)
        return passes

    def __call__(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> MergedBlock:
        """Return λ times the disjoint mean of flat deltas (n_tasks, length)."""
        trimmed = self._trimmed(deltas, context)
        undecided = context.statistics[MAJORITY] if self.variant == "paper" else 1
        signs = elected_sign(self._votes(trimmed, weights), undecided)
        if self.aggregate == "sum":
            return MergedBlock(disjoint_sum(trimmed, weights, signs).mul_(self.scaling), trimmed)
        counts = torch.ones_like(weights) if self.variant == "peft" else weights
        return MergedBlock(disjoint_mean(trimmed, weights, signs, counts).mul_(self.scaling), trimmed)

    def merge_stored(self, block: StoredBlock, weights: np.ndarray) -> MergedStored | None:
        """Merge a block as it is stored; None where signs are elected by their frequency."""
        if type(self) is not Ties or self.vote == "frequency":
            return None
        refuse_negative(weights, "ties")
        undecided = block.context.statistics[MAJORITY] if self.variant == "paper" else 1
        ones = np.ones_like(weights)
        shares, parts = (ones, ones) if self.variant == "peft" else (weights, weights)
        divided, scaling = self.aggregate == "mean", np.float32(self.scaling)
        election = (shares, weights, parts, np.float32(undecided), divided, scaling)
        return block.merge(merge_trimmed, (self._bounds(block), *election), sparse=True)

    def _stored_votes(self, block: StoredBlock, weights: np.ndarray) -> int | None:
        if type(self) is not Ties or self.vote == "frequency":
            return None
        refuse_negative(weights, "ties")
        votes = np.zeros(1, dtype=np.int64)
        largest = trimmed_votes(block.base, block.experts, self._bounds(block), weights, votes)
        return int(votes[0]) if largest < INFINITY else None

    def _bounds(self, block: StoredBlock) -> Bounds:
        if self._ranking:
            return self._ranking.bounds(block.context, block.base.size)
        everything = np.full(len(block.experts), -1, dtype=np.float32)
        return everything, everything, np.zeros(len(block.experts), dtype=np.int64)

    @property
    def _ranking(self) -> Ranking | None:
        if self.density == 1:
            return None
        return Ranking(self.density, per_tensor=self.scope == "tensor", exact=self.variant != "paper")

    def _trimmed(self, deltas: torch.Tensor, context: Context) -> Sequence[torch.Tensor]:
        return self._ranking.trim(deltas, context) if self._ranking else list(deltas)

    def _votes(self, trimmed: Sequence[torch.Tensor], weights: torch.Tensor) -> torch.Tensor:
        refuse_negative(weights, "ties")
        shares = torch.ones_like(weights) if self.variant == "peft" else weights
        if self.vote == "frequency":
            return weighted_sum([torch.sign(delta) for delta in trimmed], shares.sign())
        return weighted_sum(trimmed, shares)


class MajoritySign:
    """Statistic: the sign that most entries of the whole model elect, −1, 0 or 1."""

    def __init__(
        self,
        sparsified: Callable[[torch.Tensor, Context], Sequence[torch.Tensor]],
        votes: Callable[[Sequence[torch.Tensor], torch.Tensor], torch.Tensor],
        of_stored: Callable[[StoredBlock, np.ndarray], int | None] = lambda *_: None,
    ) -> None:
        self._sparsified = sparsified
        self._votes = votes
        self._of_stored = of_stored

    def start(self, n_tasks: int) -> int:
        """Return no votes."""
        return 0

    def observe(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> int:
        """Return how many entries of a piece elect + less how many elect −."""
        return int(torch.sign(self._votes(self._sparsified(deltas, context), weights)).sum())

    def observe_stored(self, block: StoredBlock, weights: np.ndarray) -> int | None:
        """Return the same of a piece as it is stored; None where there is no loop for it."""
        return self._of_stored(block, weights)

    def combine(self, total: int, part: int) -> int:
        """Add a piece's votes."""
        return total + part

    def finish(self, total: int) -> int:
        """Return the sign of the sum."""
        return (total > 0) - (total < 0)
