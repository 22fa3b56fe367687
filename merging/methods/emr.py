"""EMR-Merging's elected vector: the sign of the sum, and the largest magnitude that has it."""

from typing import ClassVar

import torch

from merging.arithmetic import agreeing, elected_sign, refuse_negative, weighted_sum
from merging.known_methods import register
from merging.method import Context, Method, Scope


@register("emr", paper="https://arxiv.org/abs/2405.17461")
class Emr(Method):
    """θ = θ₀ + λ σ ⊙ ε, with σ = sgn(Σ_t w_t τ_t) and ε = max |w_t τ_t| over the tasks with that sign.

    The paper adds a mask and a scale for each task, which need to know the task at inference; this is the one
    model that all of them share. It has no weights w_t.
    """

    scaling: float = 1.0
    """λ."""

    scope: ClassVar[Scope] = Scope.ELEMENT

    def __call__(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> torch.Tensor:
        """Return the merged delta of flat deltas (n_tasks, length)."""
        refuse_negative(weights, "emr")
        signs = elected_sign(weighted_sum(deltas, weights), undecided=0)
        largest, magnitudes = torch.zeros_like(signs), torch.empty_like(signs)
        for delta, weight in zip(deltas, weights, strict=True):
            torch.maximum(largest, agreeing(delta, signs, magnitudes).mul_(weight), out=largest)
        return largest.mul_(signs).mul_(self.scaling)
