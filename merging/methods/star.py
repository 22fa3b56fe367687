"""STAR: truncate each task's spectrum, and rescale it to its nuclear norm."""

from typing import ClassVar

import torch
from pydantic import Field

from merging.known_methods import register
from merging.matrix_method import MatrixMethod
from merging.method import Context
from merging.spectral import mean, svd


@register("star", paper="https://arxiv.org/abs/2502.10339")
class Star(MatrixMethod):
    """Δ = λ Σ_t w_t τ̂_t / Σ_t w_t, with τ̂_t of τ_t's largest singular values and its nuclear norm.

    Of each matrix of a transformer block the fewest singular values are kept that add up to the share η of
    all of them, Σ σ; they are scaled by Σ σ over their own sum. Other tensors get λ times their mean. The
    paper has no weights w_t.
    """

    share: float = Field(0.4, gt=0, le=1)
    """η, 40 % in the paper; 1 is the average."""
    scaling: float = 1.0
    """λ; none in the paper."""

    mean_scaled_by: ClassVar[str | None] = "scaling"

    def of_matrix(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> torch.Tensor:
        """Return the merged delta of deltas (n_tasks, rows, columns)."""
        truncated = torch.stack([self._truncated(matrix) for matrix in deltas])
        return mean(truncated, weights, "star").mul_(self.scaling)

    def _truncated(self, matrix: torch.Tensor) -> torch.Tensor:
        left, values, right = svd(matrix)
        sums = values.double().cumsum(0)
        if sums[-1] == 0:
            return matrix
        kept = int((sums < self.share * sums[-1]).sum()) + 1
        scale = float(sums[-1] / sums[min(kept, len(sums)) - 1])
        return (left[:, :kept] * (values[:kept] * scale)) @ right[:kept]
