"""Weight averaging (model soups): the weighted mean of the experts."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from merging.arithmetic import sum_of_weights, weighted_sum
from merging.method import Context, Method, Scope, register
from results.errors import InputError


@register("average", paper="https://arxiv.org/abs/2203.05482")
@dataclass(frozen=True)
class Average(Method):
    """θ = θ₀ + Σ_t w_t τ_t / Σ_t w_t, which is the weighted mean Σ_t w_t θ_t / Σ_t w_t of the experts."""

    scope: ClassVar[Scope] = Scope.ELEMENT

    def __call__(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> torch.Tensor:
        """Return the weighted mean of deltas (n_tasks, …) over the tasks."""
        total = sum_of_weights(weights)
        if total == 0:
            raise InputError(
                "Method 'average' divides by the sum of the experts' weights, which is 0; change a weight."
            )
        return weighted_sum(deltas, weights).div_(total)
