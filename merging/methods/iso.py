"""Isotropic merging: the sum's directions, all with the same strength."""

from typing import ClassVar

import torch
from pydantic import Field

from merging.arithmetic import weighted_sum
from merging.known_methods import register
from merging.matrix_method import MatrixMethod
from merging.method import Context
from merging.spectral import Decomposition, above_rounding, joined, relatively_weighted, svd


@register("iso", paper="https://arxiv.org/abs/2502.04959")
class Iso(MatrixMethod):
    """Δ = λ σ̄ U V' with Σ_t τ_t = U S V' and σ̄ the mean of its singular values (Iso-C; with tasks Iso-CTS).

    With `common` below 1, U and V hold the sum's largest ⌊common · r⌋ directions of r, up to rounding to a
    number that leaves the tasks equally many, and of each task the largest of τ_t less its part in the
    common U, both made orthogonal; σ̄ is the mean of all these singular values. Directions whose singular
    value is 1e-5 of the largest or less are left out: of adapters there are many, and they are arbitrary.

    Tensors that are no matrix of a transformer block get λ times their mean. Weights w_t count relatively:
    τ_t is scaled by T w_t / Σ w, 1 in the paper.
    """

    common: float = Field(1.0, ge=0, le=1)
    """Share of the directions that are the sum's own: 1 is Iso-C; 0.8 in the paper's Iso-CTS."""
    scaling: float = 1.0
    """λ; the paper searches 0 to 3."""

    mean_scaled_by: ClassVar[str | None] = "scaling"

    def of_matrix(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> torch.Tensor:
        """Return the merged delta of deltas (n_tasks, rows, columns)."""
        own = relatively_weighted(deltas, weights, "iso")
        total = weighted_sum(own, torch.ones_like(weights))
        left, values, right = self._directions(own, total)
        if not len(values):
            return torch.zeros_like(total)
        return (left @ right).mul_(self.scaling * float(values.mean()))

    def _directions(self, own: torch.Tensor, total: torch.Tensor) -> Decomposition:
        """Return the orthogonal U and V', and the singular values."""
        size = min(total.shape)
        each = min(round((size - int(size * self.common)) / len(own)), size // len(own))
        common = svd(total, size - each * len(own))
        if each == 0:
            return above_rounding(common, common[1][0])
        projection = common[0] @ common[0].t()
        parts = [svd(matrix - projection @ matrix, each) for matrix in own]
        strongest = torch.cat([part[1] for part in (common, *parts)]).max()
        return joined([above_rounding(part, strongest) for part in (common, *parts)])
