"""The weighted sum of the experts themselves, with weights that need not add up to 1."""

from typing import ClassVar

import torch

from merging.arithmetic import weighted_sum
from merging.known_methods import register
from merging.method import Context, Method, Scope


@register("weighted_sum", paper="https://github.com/arcee-ai/mergekit")
class WeightedSum(Method):
    """θ = Σ_t w_t θ_t: mergekit's `linear` without `normalize`; of one expert, its weights scaled by w.

    A weight of 0 on one expert's tensors makes them zeros, as for blocks that are added to a model and shall
    do nothing at first.
    """

    scope: ClassVar[Scope] = Scope.ELEMENT

    def __call__(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> torch.Tensor:
        """Return Σ_t w_t τ_t + (Σ_t w_t − 1) θ₀ of flat deltas (n_tasks, length)."""
        beyond = float(weights.double().sum()) - 1
        return weighted_sum(deltas, weights).add_(context.base, alpha=beyond)
