"""WUDI-Merging: a merged matrix that disturbs no task along its own task vector, by descent."""

import torch
from pydantic import Field

from merging.arithmetic import weighted_sum
from merging.cost import Cost
from merging.descent import adam
from merging.geometry import dot
from merging.known_methods import register
from merging.matrix_method import ONE_MATRIX, MatrixMethod
from merging.method import Context
from merging.spectral import relatively_weighted


@register("wudi", paper="https://arxiv.org/abs/2503.08099")
class Wudi(MatrixMethod):
    """Δ from Σ_t τ_t on, by steps of Adam that make Σ_t ‖(Δ − τ_t) τ_t'‖² / ‖τ_t‖² small.

    The rows of τ_t stand for the inputs of task t, so what is made small is how much its outputs change by
    what Δ has besides τ_t. An entry moves by at most about the number of steps times the learning rate, 0.003
    by default. Without data; of each matrix of a transformer block, other tensors get their mean. Task
    vectors of 0 are left out. Weights w_t count relatively: τ_t is scaled by T w_t / Σ w, 1 in the paper. A
    step costs rows × columns² multiplications.
    """

    steps: int = Field(300, ge=0)
    """Steps of Adam; 0 is the sum of the task vectors."""
    learning_rate: float = Field(1e-5, gt=0)
    """Adam's; the authors' code has 1e-5 for images and 2e-5 for language."""

    @property
    def cost(self) -> Cost:
        """Beside the tensors the products of their columns, and Adam's moments."""
        return Cost(held=f"{ONE_MATRIX}, four like it, and a square matrix of its columns")

    def of_matrix(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> torch.Tensor:
        """Return the merged delta of deltas (n_tasks, rows, columns)."""
        own = relatively_weighted(deltas, weights, "wudi")
        merged = weighted_sum(own, torch.ones_like(weights))
        # The gradient is 2 (Δ G − H), with G = Σ τ_t' τ_t / ‖τ_t‖² and H = Σ τ_t τ_t' τ_t / ‖τ_t‖².
        products = torch.zeros((context.shape[1],) * 2, device=own.device)
        pulled = torch.zeros_like(own[0])
        for matrix in own:
            square = dot(matrix, matrix)
            if square > 0:
                gram = matrix.t() @ matrix / square
                products += gram
                pulled += matrix @ gram
        return adam(
            merged,
            lambda point: (point @ products).sub_(pulled).mul_(2),
            steps=self.steps,
            learning_rate=self.learning_rate,
        )
