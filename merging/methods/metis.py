"""METIS: task vectors weighted by loss gap, kept where enough tasks agree that an entry matters."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

import torch
from pydantic import Field

from merging.arithmetic import consensus, normalised
from merging.known_methods import register
from merging.mask_reach import MaskReach
from merging.method import Context, MaskSums, MergedBlock, Method, MethodPreset, Scope

_RELEASED = {"mask_ratio": 0.3, "consensus": 2, "strict": True}


@register("metis", paper="https://arxiv.org/abs/2606.16501")
class Metis(Method):
    """θ = θ₀ + s m̄ ⊙ V, with V = Σ_t α_t τ_t and α_t = w_t / Σ w, and the entries that k tasks' masks hold.

    m_t = 1[α_t |τ_t| ≥ δ |V − α_t τ_t|], and m̄ = 1[Σ_t m_t ≥ k]: entries without consensus go back to the
    base. In many-shot rounds the weights are softmax(loss gap / temperature), the weighting `loss_gap`; k, δ
    and s are the released code's numbers. An experiment takes either of its two settings as a preset:
    `constant` or `scheduled`.

    The mask has a cliff: an entry on which all tasks agree is in task t's mask only where
    α_t ≥ δ/(1 + δ), 0.231 for δ = 0.3. Where fewer than k weights are as large, all of these entries go back
    to the base, as with equal weights of five tasks or more.
    """

    mask_ratio: float = Field(0.3, ge=0)
    """δ; 0 keeps every entry of every task."""
    consensus: int = Field(2, ge=0)
    """k; 0 switches the mask off, more than there are tasks gives the base again."""
    scaling: float = 1.0
    """s."""
    strict: bool = False
    """Compare by > as the released code does, by which entries that no task touched are in no mask; the paper
    writes ≥."""

    scope: ClassVar[Scope] = Scope.ELEMENT
    presets: ClassVar[Mapping[str, MethodPreset]] = MappingProxyType(
        {
            "constant": MethodPreset(
                "the released code of 30 January 2026",
                {**_RELEASED, "scaling": 1.0},
                {"name": "loss_gap", "temperature": 2.0, "over": "text"},
            ),
            "scheduled": MethodPreset(
                "the released code of 29 January 2026: scale and temperature fall over five rounds",
                {**_RELEASED, "scaling": [1.6, 1.2, 1.2, 1.0, 1.0]},
                {"name": "loss_gap", "temperature": [4.0, 3.0, 3.0, 2.0, 1.0], "over": "text"},
            ),
        }
    )

    def mask_reach(self, weights: Mapping[str, float]) -> MaskReach | None:
        """Return how many weights reach δ/(1 + δ)."""
        if not self.consensus:
            return None
        ratios = dict.fromkeys(weights, self.mask_ratio)
        return MaskReach.of(self.consensus, weights, ratios, strict=self.strict)

    def __call__(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> MergedBlock:
        """Return s m̄ ⊙ V of deltas (n_tasks, …)."""
        shares = normalised(weights, "'metis'")
        ratios = [self.mask_ratio] * len(deltas)
        holds = torch.Tensor.gt_ if self.strict else torch.Tensor.ge_
        merged, held, kept = consensus(deltas, shares, ratios, holds)
        agreed = merged * held.ge_(self.consensus)
        sums = MaskSums.of(agreed, merged)
        return MergedBlock(agreed.mul_(self.scaling), kept, sums)
