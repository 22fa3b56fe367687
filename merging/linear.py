"""Methods whose merged delta is a weighted sum of the task vectors, merged without holding any of them."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np

from merging import kernels
from merging.arithmetic import weighted_sum
from merging.checkpoints.when_used import torch
from merging.method import Context, Method, Scope
from merging.stored_block import MergedStored, StoredBlock


class Linear(Method):
    """A method with Δ = Σ_t c_t τ_t, of which it need only say the coefficients c_t."""

    scope: ClassVar[Scope] = Scope.ELEMENT

    @abstractmethod
    def coefficients(self, weights: np.ndarray) -> np.ndarray:
        """Return c_t in float32, (n_tasks,), from the recipe's weights, (n_tasks,)."""

    def __call__(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> torch.Tensor:
        """Return Σ_t c_t τ_t of deltas (n_tasks, …)."""
        coefficients = torch.from_numpy(self.coefficients(weights.cpu().numpy()))
        return weighted_sum(deltas, coefficients.to(weights.device))

    def merge_stored(self, block: StoredBlock, weights: np.ndarray) -> MergedStored | None:
        """Merge a block as it is stored; None where a number is not finite, or a subclass has its own sum."""
        if type(self).__call__ is not Linear.__call__:
            return None
        return block.merge(kernels.merge_linear, self.coefficients(weights), sparse=False)
