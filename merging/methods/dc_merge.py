"""DC-Merge: the tasks' strongest coordinates in a space that covers the directions of all."""

from typing import ClassVar, Literal

import torch
from pydantic import Field

from merging.arithmetic import elected
from merging.known_methods import register
from merging.matrix_method import MatrixMethod
from merging.method import Context
from merging.spectral import (
    Decomposition,
    above_rounding,
    nearest_orthogonal,
    relatively_weighted,
    svd,
)


@register("dc_merge", paper="https://arxiv.org/abs/2603.06242")
class DcMerge(MatrixMethod):
    """Δ = λ U (mask ⊙ TIES(U' τ̂_1 V, …, U' τ̂_T V)) V', in the space U, V of the tasks' largest directions.

    1. τ̂_t has the k largest singular triplets of τ_t, their values as they are or smoothed.
    2. U (m, Σk) and V are the orthogonal factors nearest to the tasks' singular vectors side by side, as in
       `tsv_merge`.
    3. Of each task's coordinates U' τ̂_t V the share K of largest magnitude is kept (at least one, and all
       that equal the least of them); the sign of their sum is elected, and those that have it are averaged.
    4. The mask holds, for each task, the coordinates between its own directions.

    As the authors' code has it. Of each matrix of a transformer block, without directions whose singular
    value is 1e-5 of the largest or less; other tensors get λ times their mean. Weights w_t count relatively:
    τ_t is scaled by T w_t / Σ w, 1 in the paper.
    """

    rank: int | None = Field(None, ge=1)
    """k; null is ⌊r/T⌋ (at least one), r being the matrix's smaller side. For adapters the authors take their
    rank, 16."""
    smoothing: Literal["none", "average", "linear"] = "none"
    """What becomes of the k singular values, whose sum stays: `none` for whole models, for adapters their
    `average`, or values that fall evenly to the least, `linear`."""
    ratio: float = Field(5.0, ge=1)
    """Of `linear`, the largest value over the least; less where they are nearer to each other."""
    density: float = Field(1e-3, gt=0, le=1)
    """K."""
    scaling: float = 1.0
    """λ."""

    mean_scaled_by: ClassVar[str | None] = "scaling"

    def of_matrix(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> torch.Tensor:
        """Return the merged delta of deltas (n_tasks, rows, columns)."""
        rank = self.rank or max(min(context.shape) // len(deltas), 1)
        parts = [svd(matrix, rank) for matrix in relatively_weighted(deltas, weights, "dc_merge")]
        strongest = torch.stack([part[1][0] for part in parts]).max()
        parts = [self._smoothed(above_rounding(part, strongest)) for part in parts]
        sizes = [len(part[1]) for part in parts]
        if not sum(sizes):
            return torch.zeros_like(deltas[0])
        left = nearest_orthogonal(torch.cat([part[0] for part in parts], dim=1))
        right = nearest_orthogonal(torch.cat([part[2] for part in parts], dim=0))
        own = [self._largest((left.t() @ u * s) @ (v @ right.t())) for u, s, v in parts]
        equally = torch.ones_like(weights)
        merged = elected(own, equally, undecided=0, aggregate="mean", method="dc_merge")
        blocks = torch.block_diag(*[torch.ones((size, size), device=merged.device) for size in sizes])
        return (left @ (merged * blocks) @ right).mul_(self.scaling)

    def _smoothed(self, part: Decomposition) -> Decomposition:
        left, values, right = part
        if self.smoothing == "none" or not len(values):
            return part
        shares = torch.ones_like(values)
        if self.smoothing == "linear":
            ratio = min(self.ratio, float(values[0] / values[-1]))
            shares = torch.linspace(ratio, 1, len(values), device=values.device)
        return left, values.sum() * shares / shares.sum(), right

    def _largest(self, coordinates: torch.Tensor) -> torch.Tensor:
        magnitudes = coordinates.abs()
        count = max(int(self.density * magnitudes.numel()), 1)
        least = magnitudes.reshape(-1).topk(count).values[-1]
        return coordinates * magnitudes.ge(least)
