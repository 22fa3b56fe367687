"""Model Breadcrumbs: drop the outliers and the small entries of each task vector, tensor by tensor."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field

from merging.arithmetic import elected, weighted_sum
from merging.by_task import of_each_task
from merging.known_methods import register
from merging.method import Context, MergedBlock, Method, Scope
from merging.ranks import keep_ranks

_Density = Annotated[float, Field(gt=0, le=1)]
_Outliers = Annotated[float, Field(ge=0, lt=1)]


@register("breadcrumbs", paper="https://arxiv.org/abs/2312.06795")
class Breadcrumbs(Method):
    """θ = θ₀ + λ Σ_t w_t m_t ⊙ τ_t, with m_t neither the largest nor the smallest magnitudes of a tensor.

    Of a tensor's d entries the ⌊γ·d⌋ largest, γ being `outliers`, are left out, and of the rest the ⌊ρ·d⌋
    largest are kept (at least one), ρ being `density`; where fewer are left, fewer outliers go. Defaults are
    those of the example of the authors' code. mergekit calls the same `density` and `gamma`; the paper's β
    is the share of the smallest, 1 − ρ − γ.
    """

    density: _Density | dict[str, _Density] = 0.2
    """ρ, the share of entries kept, one number for all tasks or one for each by the experts' names."""
    outliers: _Outliers | dict[str, _Outliers] = 0.1
    """γ, the share of entries left out as too large, likewise; mergekit has 0.01."""
    scaling: float = 0.4
    """λ."""
    within: Literal["tensor", "row"] = "tensor"
    """Rank within each `tensor`, the paper's layer, or within each `row` (last dimension), as the authors'
    code does."""
    then: Literal["task_arithmetic", "ties"] = "task_arithmetic"
    """What merges what is left; `ties` elects a sign for each entry, as mergekit's `breadcrumbs_ties` does,
    with + for entries that cancel."""
    aggregate: Literal["mean", "sum"] = "mean"
    """After the election the disjoint `mean`, or the disjoint `sum`, which is mergekit's default."""

    scope: ClassVar[Scope] = Scope.TENSOR

    def __call__(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> MergedBlock:
        """Return the merged delta of deltas (n_tasks, *shape)."""
        kept = self._kept(deltas, context.tasks)
        if self.then == "task_arithmetic":
            merged = weighted_sum(kept, weights)
        else:
            merged = elected(kept, weights, undecided=1, aggregate=self.aggregate, method="breadcrumbs")
        return MergedBlock(merged.mul_(self.scaling), kept)

    def _kept(self, deltas: torch.Tensor, tasks: Sequence[str]) -> list[torch.Tensor]:
        densities = of_each_task(self.density, tasks, "breadcrumbs", "density")
        outliers = of_each_task(self.outliers, tasks, "breadcrumbs", "outliers")
        return [self._band(*given) for given in zip(deltas, densities, outliers, strict=True)]

    def _band(self, delta: torch.Tensor, density: float, outliers: float) -> torch.Tensor:
        """Return one task's delta with zeros for what is not kept."""
        rows = delta.reshape(-1) if self.within == "tensor" or delta.dim() == 0 else delta
        size = rows.shape[-1]
        count = max(int(density * size), 1)
        first = min(int(outliers * size), size - count)
        return keep_ranks(rows, first, count).reshape(delta.shape)
