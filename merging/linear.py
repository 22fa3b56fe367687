"""Methods whose merged delta is a weighted sum of the task vectors, merged without holding any of them."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch

from merging import kernels
from merging.arithmetic import weighted_sum
from merging.checkpoints.dtypes import bfloat16_bits
from merging.method import Context, Method, Scope
from merging.tally import Tally


class Linear(Method):
    """A method with Δ = Σ_t c_t τ_t, of which it need only say the coefficients c_t."""

    scope: ClassVar[Scope] = Scope.ELEMENT

    @abstractmethod
    def coefficients(self, weights: torch.Tensor) -> torch.Tensor:
        """Return c_t in float32, (n_tasks,), from the recipe's weights, (n_tasks,)."""

    def __call__(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> torch.Tensor:
        """Return Σ_t c_t τ_t of deltas (n_tasks, …)."""
        return weighted_sum(deltas, self.coefficients(weights))


def merge_bfloat16(
    base: torch.Tensor, experts: Sequence[torch.Tensor], coefficients: torch.Tensor
) -> tuple[torch.Tensor, Tally] | None:
    """Return θ₀ + Σ_t c_t (θ_t − θ₀) of flat bfloat16 blocks in the CPU's memory, and what became of them.

    It gives the same bits as reading the task vectors, calling the method and rounding, in half the time:
    nothing leaves the cache in between. None where a number is not finite; those steps then say which.
    """
    out, tally = torch.empty_like(base), Tally.empty(len(experts))
    tasks = np.zeros((len(experts), 4))
    largest = kernels.merge_linear(
        bfloat16_bits(base),
        tuple(bfloat16_bits(expert) for expert in experts),
        coefficients.numpy(),
        bfloat16_bits(out),
        (tally.result, tasks),
    )
    if largest >= kernels.INFINITY:
        return None
    tally.entries, tally.tasks = len(base), np.insert(tasks, 2, tasks[:, 1], axis=1)
    return out, tally
