"""TSV-Merge: the largest singular vectors of every task, made orthogonal to each other."""

from typing import ClassVar

import torch

from merging.known_methods import register
from merging.matrix_method import MatrixMethod
from merging.method import Context
from merging.spectral import above_rounding, joined, relatively_weighted, svd


@register("tsv_merge", paper="https://arxiv.org/abs/2412.00081")
class TsvMerge(MatrixMethod):
    """Δ = λ U_⊥ S V_⊥' of the ⌊r/T⌋ largest singular triplets (at least one) of each task's matrix.

    r is the matrix's smaller side. U, S and V hold the T tasks' triplets side by side, and U_⊥ and V_⊥ are
    the orthogonal factors nearest to U and V, by which the tasks' directions no longer interfere. Directions
    whose singular value is 1e-5 of the largest or less are left out, as in `iso`: they are arbitrary, and
    would turn the others. Tensors that are no matrix of a transformer block get λ times their mean. Weights
    w_t count relatively: τ_t is scaled by T w_t / Σ w, 1 in the paper.
    """

    scaling: float = 1.0
    """λ; the paper searches 0 to 3."""

    mean_scaled_by: ClassVar[str | None] = "scaling"

    def of_matrix(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> torch.Tensor:
        """Return the merged delta of deltas (n_tasks, rows, columns)."""
        rank = max(min(context.shape) // len(deltas), 1)
        own = relatively_weighted(deltas, weights, "tsv_merge")
        parts = [svd(matrix, rank) for matrix in own]
        strongest = torch.cat([part[1] for part in parts]).max()
        left, values, right = joined([above_rounding(part, strongest) for part in parts])
        return ((left * values) @ right).mul_(self.scaling)
