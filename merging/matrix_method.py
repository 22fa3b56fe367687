"""Methods of the matrices inside of transformer blocks, which average everything else entry by entry."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np

from merging import kernels
from merging.arithmetic import shares_of, weighted_sum
from merging.checkpoints.when_used import torch
from merging.known_methods import name_of
from merging.method import Context, MergedBlock, Method, Scope
from merging.stored_block import MergedStored, StoredBlock


class MatrixMethod(Method):
    """A method that sees each matrix of a transformer block whole.

    All other tensors (norms, biases, embeddings, the head) get Σ_t c_t τ_t in blocks, as papers have it for
    what is no linear layer.

    Attributes:
        mean_scaled_by: the setting by which their mean is multiplied, if any.
    """

    scope: ClassVar[Scope] = Scope.TENSOR
    mean_scaled_by: ClassVar[str | None] = None

    @abstractmethod
    def of_matrix(
        self, deltas: torch.Tensor, weights: torch.Tensor, context: Context
    ) -> torch.Tensor | MergedBlock:
        """Return the merged delta of a matrix, of deltas (n_tasks, rows, columns). See `Method.__call__`."""

    def coefficients(self, weights: np.ndarray) -> np.ndarray:
        """Return c_t of all other tensors, float32 (n_tasks,): w_t / Σ w, scaled by the setting."""
        scale = getattr(self, self.mean_scaled_by) if self.mean_scaled_by else 1
        return shares_of(weights, repr(name_of(self))) * scale

    def scope_of(self, shape: tuple[int, ...], layer: int | None) -> Scope:
        """Return `tensor` for matrices of transformer blocks."""
        return Scope.TENSOR if is_matrix(shape, layer) else Scope.ELEMENT

    def __call__(
        self, deltas: torch.Tensor, weights: torch.Tensor, context: Context
    ) -> torch.Tensor | MergedBlock:
        """Return the merged delta of a matrix, or of a block of another tensor."""
        if is_matrix(context.shape, context.layer):
            return self.of_matrix(deltas, weights, context)
        coefficients = torch.from_numpy(self.coefficients(weights.cpu().numpy()))
        return weighted_sum(deltas, coefficients.to(weights.device))

    def merge_stored(self, block: StoredBlock, weights: np.ndarray) -> MergedStored | None:
        """Merge a block as it is stored; None of a matrix, or where a number is not finite."""
        if is_matrix(block.context.shape, block.context.layer):
            return None
        return block.merge(kernels.merge_linear, self.coefficients(weights), sparse=False)


def is_matrix(shape: tuple[int, ...], layer: int | None) -> bool:
    """Whether a tensor is a matrix of a transformer block, with entries."""
    return len(shape) == 2 and layer is not None and min(shape) > 0
