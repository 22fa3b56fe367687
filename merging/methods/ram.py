"""Reinforced Agent Merging: the mean of the experts that changed an entry, whose own changes stay whole."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field

from merging.arithmetic import refuse_negative, weighted_sum
from merging.known_methods import register
from merging.method import Context, FirstPass, MergedBlock, Method, Scope

_COUNTS = "entries that several and one changed"


@register("ram", paper="https://arxiv.org/abs/2601.13572")
class Ram(Method):
    """θ = θ₀ + Σ w_t λ_t τ_t / Σ w_t over the tasks that changed the entry, |τ_t| > ε.

    λ_t = 1 where several did. Where one alone did, it is 1 in RAM, and 1 + r · min(ρ_t, α) in RAM+, with ρ_t
    how many of the entries that t changed others changed too, over how many they did not. The paper has no
    weights w_t.
    """

    rescale: float = Field(0.0, ge=0)
    """r; 0 is RAM, and 0.1 in mergekit's `ramplus_tl`."""
    limit: float = Field(0.2, ge=0)
    """α."""
    smallest: float = Field(1e-5, ge=0)
    """ε, in the unit of the weights."""
    within: Literal["model", "tensor"] = "model"
    """Count for ρ_t over the whole `model`, or in each `tensor` as `ramplus_tl` does."""

    scope: ClassVar[Scope] = Scope.ELEMENT

    @property
    def decides_over_model(self) -> bool:
        """Whether ρ is counted over the whole model."""
        return self.within == "model" and self.rescale > 0

    def first_passes(self) -> dict[str, FirstPass]:
        """Return the pass that counts for ρ, which RAM+ needs."""
        return {_COUNTS: _Counts(self)} if self.rescale else {}

    def __call__(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> MergedBlock:
        """Return the merged delta of flat deltas (n_tasks, length)."""
        refuse_negative(weights, "ram")
        changed, alone = self.changed(deltas)
        kept = deltas * changed
        divisor = weighted_sum(changed, weights)
        scales = [1 + self.rescale * min(ratio, self.limit) for ratio in self._ratios(context, len(deltas))]
        own = torch.stack(
            [delta * (1 + alone * (scale - 1)) for delta, scale in zip(kept, scales, strict=True)]
        )
        total = weighted_sum(own, weights)
        return MergedBlock(torch.where(divisor > 0, total / divisor, 0), list(kept))

    def changed(self, deltas: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return which entries each task changed, (n_tasks, …), and which one alone did: zeros and ones."""
        changed = deltas.abs().gt(self.smallest).float()
        return changed, changed.sum(0).eq(1).float()

    def group(self, context: Context) -> str:
        """Return the name of what a block's entries are counted with."""
        return "model" if self.within == "model" else context.tensor

    def _ratios(self, context: Context, n_tasks: int) -> list[float]:
        if not self.rescale:
            return [0.0] * n_tasks
        counts = context.statistics[_COUNTS][self.group(context)]
        return [shared / max(unique, 1) for shared, unique in counts]


class _Counts:
    """Statistic by tensor, or of the model: (shared, unique) of each task."""

    def __init__(self, method: Ram) -> None:
        self._method = method

    def start(self, n_tasks: int) -> dict[str, Any]:
        return {}

    def observe(
        self, deltas: torch.Tensor, weights: torch.Tensor, context: Context
    ) -> Mapping[str, torch.Tensor]:
        changed, alone = self._method.changed(deltas)
        unique = (changed * alone).sum(1, dtype=torch.float64)
        shared = changed.sum(1, dtype=torch.float64) - unique
        return {self._method.group(context): torch.stack((shared, unique), dim=1).cpu()}

    def combine(self, total: dict[str, Any], part: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        for group, counts in part.items():
            total[group] = total[group] + counts if group in total else counts
        return total

    def finish(self, total: dict[str, Any]) -> dict[str, Any]:
        return {group: counts.tolist() for group, counts in total.items()}
