"""METIS: task vectors weighted by loss gap, kept where enough tasks agree that an entry matters."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch

from merging.arithmetic import consensus, normalised
from merging.checks import check_finite
from merging.mask_reach import MaskReach
from merging.method import Context, Method, MethodPreset, Scope, register
from results.errors import InputError

_RELEASED = {"mask_ratio": 0.3, "consensus": 2, "strict": True}


@register("metis", paper="https://arxiv.org/abs/2606.16501")
@dataclass(frozen=True)
class Metis(Method):
    """θ = θ₀ + s m̄ ⊙ V, with V = Σ_t α_t τ_t and α_t = w_t / Σ w, and the entries that k tasks' masks hold.

    m_t = 1[α_t |τ_t| ≥ δ |V − α_t τ_t|], and m̄ = 1[Σ_t m_t ≥ k]: entries without consensus go back to the
    base. In many-shot rounds the weights are softmax(loss gap / temperature), the weighting `loss_gap`; k, δ
    and s are the released code's numbers. An experiment takes either of its two settings as a preset:
    `constant` or `scheduled`.

    The mask has a cliff: an entry on which all tasks agree is in task t's mask only where
    α_t ≥ δ/(1 + δ), 0.231 for δ = 0.3. Where fewer than k weights are as large, all of these entries go back
    to the base, as with equal weights of five tasks or more.

    Attributes:
        mask_ratio: δ; 0 keeps every entry of every task.
        consensus: k; 0 switches the mask off, more than there are tasks gives the base again.
        scaling: s.
        strict: compare by > as the released code does, by which entries that no task touched are in no mask;
            the paper writes ≥.
    """

    mask_ratio: float = 0.3
    consensus: int = 2
    scaling: float = 1.0
    strict: bool = False

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

    def __post_init__(self) -> None:
        check_finite("scaling", self.scaling)
        check_finite("mask_ratio", self.mask_ratio)
        for setting in ("mask_ratio", "consensus"):
            if getattr(self, setting) < 0:
                raise InputError(f"setting {setting!r} is {getattr(self, setting)}, expected 0 or more.")

    def mask_reach(self, weights: Mapping[str, float]) -> MaskReach | None:
        """Return how many weights reach δ/(1 + δ)."""
        if not self.consensus:
            return None
        ratios = dict.fromkeys(weights, self.mask_ratio)
        return MaskReach.of(self.consensus, weights, ratios, strict=self.strict)

    def __call__(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> torch.Tensor:
        """Return s m̄ ⊙ V of deltas (n_tasks, …)."""
        shares = normalised(weights, "'metis'")
        ratios = [self.mask_ratio] * len(deltas)
        holds = torch.Tensor.gt_ if self.strict else torch.Tensor.ge_
        merged, held, kept = consensus(deltas, shares, ratios, holds)
        context.note_kept(kept)
        agreed = merged * held.ge_(self.consensus)
        context.note_agreed(agreed, merged)
        return agreed.mul_(self.scaling)
