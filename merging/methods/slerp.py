"""SLERP and Multi-SLERP: merging along the sphere, tensor by tensor."""

from math import acos, sin
from typing import ClassVar, Literal

import torch

from merging.arithmetic import normalised, weighted_sum
from merging.geometry import CANCELLED, dot, norm
from merging.known_methods import register
from merging.method import Context, Method, Scope
from results.errors import InputError

_PARALLEL = 0.9995
"""Cosine from which on the way along the sphere is the straight one."""
_SMALLEST = 1e-8


@register("slerp", paper="https://doi.org/10.1145/325334.325242")
class Slerp(Method):
    """θ = sin((1−t)ω)/sin ω · θ_a + sin(tω)/sin ω · θ_b for two experts, ω the angle between their weights.

    As mergekit has it: of the weights themselves, not task vectors, each tensor flattened; where they are
    nearly parallel (|cos ω| > 0.9995) the straight line, and here also beside a tensor of zeros. a and b are
    the experts in the order of their names.
    """

    t: float | None = None
    """How far from a to b; null takes it from the weights, w_b/(w_a + w_b), which is halfway by default."""

    scope: ClassVar[Scope] = Scope.TENSOR
    takes: ClassVar[int | None] = 2

    def __call__(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> torch.Tensor:
        """Return the merged weights less the base's, of deltas (2, *shape)."""
        if len(deltas) != 2:
            raise InputError(f"Method 'slerp' merges two experts, and there are {len(deltas)}.")
        t = float(normalised(weights, "'slerp'")[1]) if self.t is None else self.t
        first, second = (context.base + delta for delta in deltas)
        length = norm(first) * norm(second)
        cosine = dot(first, second) / length if length > 0 else 1.0
        shares = 1 - t, t
        if abs(cosine) <= _PARALLEL:
            angle = acos(cosine)
            shares = sin((1 - t) * angle) / sin(angle), sin(t * angle) / sin(angle)
        return first.mul_(shares[0]).add_(second, alpha=shares[1]).sub_(context.base)


@register("multislerp", paper="https://github.com/arcee-ai/mergekit")
class MultiSlerp(Method):
    """τ = (Σ w_t |τ_t|) · u, with u a step along the sphere from the mean direction of the task vectors.

    u_t = τ_t/|τ_t|, μ = Σ w_t u_t made a unit vector, v = Σ w_t (u_t − ⟨u_t, μ⟩ μ), and u = cos|v| μ +
    sin|v| v/|v|, as mergekit has it, tensor by tensor, with weights that add up to 1. By that v is 0 but for
    rounding, and u is μ. The norm is the mean of norms: of T nearly orthogonal task vectors that is about √T
    times the norm of their mean. Tensors that no expert changed stay the base's. Where the directions cancel,
    two task vectors are added up by their weights, and more are refused.
    """

    of: Literal["task_vectors", "weights"] = "task_vectors"
    """What τ_t is: the `task_vectors`, or the `weights` themselves, as in mergekit without a base."""
    normalize: bool = True
    """Make the weights add up to 1."""

    scope: ClassVar[Scope] = Scope.TENSOR

    def __call__(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> torch.Tensor:
        """Return the merged delta of deltas (n_tasks, *shape)."""
        shares = normalised(weights, "'multislerp'") if self.normalize else weights
        if self.of == "weights":
            return self._along_the_sphere(deltas + context.base, shares, context).sub_(context.base)
        return self._along_the_sphere(deltas, shares, context)

    def _along_the_sphere(self, deltas: torch.Tensor, shares: torch.Tensor, context: Context) -> torch.Tensor:
        norms = torch.tensor([norm(delta) for delta in deltas], device=shares.device)
        if not norms.any():
            return torch.zeros_like(deltas[0])
        mean = weighted_sum(deltas, shares / norms.clamp_min(_SMALLEST))
        length = norm(mean)
        if length <= CANCELLED * float(shares.abs().sum()):
            if len(deltas) == 2:
                return weighted_sum(deltas, shares)
            raise InputError(
                f"Method 'multislerp': the directions of the task vectors of {context.tensor!r} cancel."
            )
        # The tangents at μ of Σ w u_t = |Σ w u_t| μ add up to nothing, whatever the weights.
        return mean.mul_(float(norms @ shares) / length)
