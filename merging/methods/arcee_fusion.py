"""Arcee Fusion: take over from one expert the entries whose change matters by far the most."""

from typing import ClassVar

import torch

from merging.arithmetic import the_only_one
from merging.known_methods import register
from merging.method import Context, MergedBlock, Method, Scope

_SMALLEST = 1e-8
_BEYOND = 1.5


@register("arcee_fusion", paper="https://github.com/arcee-ai/mergekit")
class ArceeFusion(Method):
    """θ = θ₀ + m ⊙ τ_1 with m = 1[I ≥ median(I) + 1.5 (Q₃(I) − Q₁(I))], of one expert, tensor by tensor.

    I = |τ_1| · KL(softmax(θ_1) ‖ softmax(θ₀)), both along each row (last dimension). The quartiles are those
    at ⌊q (d − 1)⌋ of a tensor's d sorted entries. As mergekit has it, which draws a million entries by chance
    for the quartiles of larger tensors, where these are exact. A weight of the expert other than 1 is
    refused.
    """

    scope: ClassVar[Scope] = Scope.TENSOR
    takes: ClassVar[int | None] = 1

    def __call__(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> MergedBlock:
        """Return the merged delta of deltas (1, *shape)."""
        delta = the_only_one(deltas, weights, "arcee_fusion")
        importance = _importance(delta, context.base)
        in_order = importance.reshape(-1).sort().values
        first, median, third = (in_order[int(q * (len(in_order) - 1))] for q in (0.25, 0.5, 0.75))
        kept = delta * importance.ge(median + _BEYOND * (third - first))
        return MergedBlock(kept.clone(), [kept])


def _importance(delta: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
    """Return I in the shape of the delta."""
    if base.dim() == 0:
        return torch.zeros_like(delta)
    # In float32 the KL of two models that are near each other is rounding.
    after, before = (torch.softmax(values.double(), dim=-1) + _SMALLEST for values in (base + delta, base))
    return delta.abs() * (after * torch.log(after / before)).sum(dim=-1, keepdim=True)
