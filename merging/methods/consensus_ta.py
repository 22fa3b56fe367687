"""Consensus task arithmetic: keep the entries that enough tasks need."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

import torch
from pydantic import Field

from merging.arithmetic import consensus
from merging.by_task import of_each_task
from merging.known_methods import register
from merging.mask_reach import MaskReach
from merging.method import Context, MaskSums, MergedBlock, Method, Scope
from results.errors import InputError

_Threshold = Annotated[float, Field(ge=0)]


@register("consensus_ta", paper="https://arxiv.org/abs/2405.07813")
class ConsensusTA(Method):
    """θ = θ₀ + α m ⊙ τ_M, with τ_M = Σ_t w_t τ_t and the entries that at least k tasks' TALL masks hold.

    m_t = 1[|w_t τ_t| > λ_t |τ_M − w_t τ_t|] holds what matters to task t, and m = 1[Σ_t m_t ≥ k]: with k = 2
    entries that no task needs, or one alone, go back to the base; with k = 0 this is task arithmetic.
    """

    mask_threshold: _Threshold | dict[str, _Threshold] = 0.4
    """λ_t, one number for all tasks or one for each by the experts' names; the paper chooses it for each task
    from 0.2 to 0.6 on validation data. A larger one keeps fewer entries."""
    consensus: int = Field(2, ge=0)
    """k."""
    scaling: float = 1.0
    """α."""
    only: str | None = None
    """The task whose mask alone counts, θ₀ + α m_t ⊙ τ_M, by which the paper chooses its λ_t; in an
    experiment that is `mask_threshold: {choose_per_task: [0.2, 0.3, 0.4, 0.5, 0.6]}`."""

    scope: ClassVar[Scope] = Scope.ELEMENT

    def mask_reach(self, weights: Mapping[str, float]) -> MaskReach | None:
        """Return how many weights reach λ_t/(1 + λ_t) of their sum."""
        if not self.consensus or self.only is not None or sum(weights.values()) <= 0:
            return None
        each = self.mask_threshold
        ratios = each if isinstance(each, Mapping) else dict.fromkeys(weights, each)
        return MaskReach.of(self.consensus, weights, ratios, strict=True)

    def __call__(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> MergedBlock:
        """Return α m ⊙ τ_M of deltas (n_tasks, …)."""
        thresholds = self._thresholds(context)
        merged, held, kept = consensus(deltas, weights, thresholds, torch.Tensor.gt_)
        mask = held.ge_(self.consensus) if self.only is None else kept[self._place(context)].ne(0)
        agreed = merged * mask
        sums = MaskSums.of(agreed, merged)
        return MergedBlock(agreed.mul_(self.scaling), kept, sums)

    def _place(self, context: Context) -> int:
        if self.only not in context.tasks:
            raise InputError(
                f"Method 'consensus_ta': setting 'only' is {self.only!r}, but the experts are "
                f"{', '.join(context.tasks)}; name one of them."
            )
        return context.tasks.index(self.only)

    def _thresholds(self, context: Context) -> list[float]:
        return of_each_task(self.mask_threshold, context.tasks, "consensus_ta", "mask_threshold")
