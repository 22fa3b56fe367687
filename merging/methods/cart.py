"""CART: task arithmetic around the experts' mean, with task vectors of low rank."""

from math import ceil

import torch
from pydantic import Field

from merging.arithmetic import weighted_sum
from merging.known_methods import register
from merging.matrix_method import MatrixMethod
from merging.method import Context
from merging.spectral import mean, svd


@register("cart", paper="https://arxiv.org/abs/2412.12153")
class Cart(MatrixMethod):
    """θ = θ̄ + λ Σ_t R_k(θ_t − θ̄), with θ̄ the experts' weighted mean and R_k the nearest matrix of rank k.

    k = ⌈rank · r⌉ of each matrix of a transformer block, r being its smaller side; other tensors are
    averaged. At full rank and with equal weights the sum vanishes, and the average is left.
    """

    rank: float = Field(0.08, gt=0, le=1)
    """Share of the full rank that is kept; the paper finds about 0.08 best."""
    scaling: float = 1.0
    """λ."""

    def of_matrix(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> torch.Tensor:
        """Return the merged delta of deltas (n_tasks, rows, columns)."""
        centre = mean(deltas, weights, "cart")
        rank = ceil(self.rank * min(context.shape))
        parts = [svd(delta - centre, rank) for delta in deltas]
        low = torch.stack([(left * values) @ right for left, values, right in parts])
        return centre + weighted_sum(low, torch.full_like(weights, self.scaling))
