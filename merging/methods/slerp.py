"""SLERP and Multi-SLERP: merging along the sphere, tensor by tensor."""

from dataclasses import dataclass
from math import acos, cos, sin
from typing import ClassVar

import torch

from merging.arithmetic import normalised, weighted_sum
from merging.checks import check_finite
from merging.method import Context, Method, Scope, register
from results.errors import InputError

_PARALLEL = 0.9995
"""Cosine from which on the way along the sphere is the straight one."""
_SMALLEST = 1e-8


@register("slerp", paper="https://doi.org/10.1145/325334.325242")
@dataclass(frozen=True)
class Slerp(Method):
    """θ = sin((1−t)ω)/sin ω · θ_a + sin(tω)/sin ω · θ_b for two experts, ω the angle between their weights.

    As mergekit has it: of the weights themselves, not task vectors, each tensor flattened; where they are
    nearly parallel (|cos ω| > 0.9995) the straight line. a and b are the experts in the order of their names.

    Attributes:
        t: how far from a to b.
    """

    t: float = 0.5

    scope: ClassVar[Scope] = Scope.TENSOR

    def __post_init__(self) -> None:
        check_finite("t", self.t)

    def __call__(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> torch.Tensor:
        """Return the merged weights less the base's, of deltas (2, *shape)."""
        if len(deltas) != 2:
            raise InputError(f"Method 'slerp' merges two experts, and there are {len(deltas)}.")
        first, second = (context.base + delta for delta in deltas)
        length = _norm(first) * _norm(second)
        cosine = _dot(first, second) / length if length > _SMALLEST else 1.0
        shares = 1 - self.t, self.t
        if abs(cosine) <= _PARALLEL:
            angle = acos(cosine)
            shares = sin((1 - self.t) * angle) / sin(angle), sin(self.t * angle) / sin(angle)
        return weighted_sum(torch.stack([first, second]), _floats(shares, weights)) - context.base


@register("multislerp", paper="https://github.com/arcee-ai/mergekit")
@dataclass(frozen=True)
class MultiSlerp(Method):
    """τ = (Σ w_t |τ_t|) · u, with u a step along the sphere from the mean direction of the task vectors.

    u_t = τ_t/|τ_t|, μ = Σ w_t u_t made a unit vector, v = Σ w_t (u_t − ⟨u_t, μ⟩ μ), and u = cos|v| μ + sin|v|
    v/|v|; tensor by tensor, with weights that add up to 1, as mergekit has it. The norm is the mean of norms:
    of T nearly orthogonal task vectors that is about √T times the norm of their mean. Tensors that no expert
    changed stay the base's.
    """

    scope: ClassVar[Scope] = Scope.TENSOR

    def __call__(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> torch.Tensor:
        """Return the merged delta of deltas (n_tasks, *shape)."""
        shares = normalised(weights, "'multislerp'")
        norms = [_norm(delta) for delta in deltas]
        if max(norms) == 0:
            return torch.zeros_like(deltas[0])
        units = torch.stack([delta / max(norm, _SMALLEST) for delta, norm in zip(deltas, norms, strict=True)])
        mean = weighted_sum(units, shares)
        length = _norm(mean)
        if length < _SMALLEST:
            if len(deltas) == 2:
                return weighted_sum(deltas, shares)
            raise InputError(
                f"Method 'multislerp': the directions of the task vectors of {context.tensor!r} cancel."
            )
        mean /= length
        tangents = torch.stack([unit - _dot(unit, mean) * mean for unit in units])
        step = weighted_sum(tangents, shares)
        way = _norm(step)
        if way > _SMALLEST:
            mean = weighted_sum(torch.stack([mean, step]), _floats((cos(way), sin(way) / way), weights))
        return mean * sum(norm * share for norm, share in zip(norms, shares.tolist(), strict=True))


def _dot(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(torch.dot(one.double().view(-1), other.double().view(-1)))


def _norm(tensor: torch.Tensor) -> float:
    return _dot(tensor, tensor) ** 0.5


def _floats(values: tuple[float, ...], like: torch.Tensor) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32, device=like.device)
