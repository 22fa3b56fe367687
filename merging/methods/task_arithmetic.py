"""Task arithmetic: the scaled sum of the task vectors."""

from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

import torch

from merging.arithmetic import sum_of_weights, weighted_sum
from merging.method import Context, Method, Scope, register
from results.errors import InputError


@register("task_arithmetic", paper="https://arxiv.org/abs/2212.04089")
@dataclass(frozen=True)
class TaskArithmetic(Method):
    """θ = θ₀ + λ Σ_t w_t τ_t.

    Attributes:
        scaling: λ; papers search 0.1 to 1.0 and often settle near 0.3 to 0.4 for four tasks or more.
        normalize: divide by Σ_t w_t, which makes λ = 1 the weighted average. Off, as in the paper.
    """

    scaling: float = 1.0
    normalize: bool = False

    scope: ClassVar[Scope] = Scope.ELEMENT

    def __post_init__(self) -> None:
        if not isfinite(self.scaling):
            raise InputError(f"setting 'scaling' is {self.scaling}, expected a finite number.")

    def __call__(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> torch.Tensor:
        """Return λ Σ_t w_t τ_t of deltas (n_tasks, …)."""
        merged = weighted_sum(deltas, weights)
        if self.normalize:
            total = sum_of_weights(weights)
            if total == 0:
                raise InputError(
                    "Method 'task_arithmetic' with 'normalize' divides by the sum of the experts' weights, "
                    "which is 0; change a weight."
                )
            merged /= total
        return merged.mul_(self.scaling)
