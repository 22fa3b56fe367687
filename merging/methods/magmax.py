"""MagMax: of each entry the task whose change is largest."""

from typing import ClassVar

import torch

from merging.known_methods import register
from merging.method import Context, MergedBlock, Method, Scope


@register("magmax", paper="https://arxiv.org/abs/2407.06322")
class MagMax(Method):
    """θ = θ₀ + λ w_t τ_t, each entry from the task t whose |w_t τ_t| is largest; the paper has no weights."""

    scaling: float = 0.5
    """λ."""

    scope: ClassVar[Scope] = Scope.ELEMENT

    def __call__(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> MergedBlock:
        """Return the merged delta of flat deltas (n_tasks, length)."""
        own = deltas * weights[:, None]
        winner = own.abs().argmax(0, keepdim=True)
        kept = torch.zeros_like(deltas).scatter_(0, winner, deltas.gather(0, winner))
        return MergedBlock(own.gather(0, winner)[0].mul_(self.scaling), list(kept))
