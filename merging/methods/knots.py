"""KnOTS: TIES among the tasks' coordinates in the directions that they share."""

from typing import ClassVar

import torch
from pydantic import Field

from merging.arithmetic import elected
from merging.known_methods import register
from merging.matrix_method import MatrixMethod
from merging.method import Context
from merging.ranks import keep_ranks
from merging.spectral import shared_directions


@register("knots", paper="https://arxiv.org/abs/2410.19735")
class Knots(MatrixMethod):
    """Δ = λ U · TIES(S V_1', …, S V_T') with [τ_1 | … | τ_T] = U S [V_1' | … | V_T'], by singular values.

    Of each matrix of a transformer block; meant for adapters, which have few directions. What TIES merges,
    S V_t' = U' τ_t, are the coordinates of τ_t in the directions U, without those whose singular value is
    1e-5 of the largest or less. TIES keeps of each task the ⌊K·d⌋ largest (at least one) of d coordinates,
    elects the sign of Σ_t w_t S V_t', and takes the disjoint mean. Other tensors get λ times their mean.
    """

    density: float = Field(1.0, gt=0, le=1)
    """K; the paper's is 1 for language models and 0.2 for images."""
    scaling: float = 0.5
    """λ; the paper's are 0.3 to 0.6."""

    mean_scaled_by: ClassVar[str | None] = "scaling"

    def of_matrix(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> torch.Tensor:
        """Return the merged delta of deltas (n_tasks, rows, columns)."""
        directions = shared_directions(deltas)
        coordinates = directions.t() @ deltas
        if self.density < 1:
            flat = coordinates.reshape(len(deltas), -1)
            count = max(int(self.density * flat.shape[1]), 1)
            coordinates = keep_ranks(flat, 0, count).reshape(coordinates.shape)
        merged = elected(coordinates, weights, undecided=0, aggregate="mean", method="knots")
        return (directions @ merged).mul_(self.scaling)
