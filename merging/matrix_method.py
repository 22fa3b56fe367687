"""Methods of the matrices inside of transformer blocks, which average everything else entry by entry."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np

from merging import kernels
from merging.arithmetic import shares_of, weighted_sum
from merging.checkpoints.when_used import torch
from merging.cost import Cost
from merging.known_methods import name_of
from merging.method import Context, MergedBlock, Method, Scope
from merging.stored_block import MergedStored, StoredBlock

ONE_MATRIX = "one whole matrix of every expert"
"""What is in memory of the weights at a time."""


class MatrixMethod(Method):
    """Matrices of transformer blocks are seen whole; other tensors (norms, embeddings, head) are averaged."""

    scope: ClassVar[Scope] = Scope.TENSOR
    mean_scaled_by: ClassVar[str | None] = None
    """The setting by which the average of other tensors is multiplied, if any."""

    @abstractmethod
    def of_matrix(
        self, deltas: torch.Tensor, weights: torch.Tensor, context: Context
    ) -> torch.Tensor | MergedBlock:
        """Return the merged delta of a matrix, of deltas (n_tasks, rows, columns). See `Method.__call__`."""

    def coefficients(self, weights: np.ndarray) -> np.ndarray:
        """Return c_t of all other tensors, float32 (n_tasks,): w_t / Σ w, scaled by the setting."""
        scale = getattr(self, self.mean_scaled_by) if self.mean_scaled_by else 1
        return shares_of(weights, repr(name_of(self))) * scale

    @property
    def _averages(self) -> bool:
        return type(self).__call__ is MatrixMethod.__call__

    @property
    def cost(self) -> Cost:
        """One matrix at a time."""
        return Cost(passes=1 + len(self.first_passes()), held=ONE_MATRIX)

    def scope_of(self, shape: tuple[int, ...], layer: int | None) -> Scope:
        """Return `tensor` for matrices, and for all tensors where a subclass merges them by its own call."""
        averaged = self._averages and not is_matrix(shape, layer)
        return Scope.ELEMENT if averaged else self.block_scope

    def __call__(
        self, deltas: torch.Tensor, weights: torch.Tensor, context: Context
    ) -> torch.Tensor | MergedBlock:
        """Return the merged delta of a matrix, or of a block of another tensor."""
        if is_matrix(context.shape, context.layer):
            return self.of_matrix(deltas, weights, context)
        coefficients = torch.from_numpy(self.coefficients(weights.cpu().numpy()))
        return weighted_sum(deltas, coefficients.to(weights.device))

    def merge_stored(self, block: StoredBlock, weights: np.ndarray) -> MergedStored | None:
        """Merge a block as it is stored; None of what is not averaged, or where a number is not finite."""
        if not self._averages or is_matrix(block.context.shape, block.context.layer):
            return None
        return block.merge(kernels.merge_linear, self.coefficients(weights), sparse=False)


def is_matrix(shape: tuple[int, ...], layer: int | None) -> bool:
    """Whether a tensor is a matrix of a transformer block, with entries."""
    return len(shape) == 2 and layer is not None and min(shape) > 0
