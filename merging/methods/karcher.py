"""The Karcher mean: the point on the sphere that is nearest to the experts' directions."""

from math import pi
from typing import ClassVar

import torch
from pydantic import Field

from merging.arithmetic import normalised, weighted_sum
from merging.geometry import CANCELLED, gram
from merging.known_methods import register
from merging.method import Context, Method, Scope
from results.errors import InputError

_SMALLEST = 1e-8


@register("karcher", paper="https://arxiv.org/abs/2603.04972")
class Karcher(Method):
    """θ = (Σ_t w_t |θ_t|) · u, u the Karcher mean of the directions u_t = θ_t/|θ_t|, and Σ_t w_t made 1.

    Of the weights themselves, not task vectors, each tensor flattened: from the mean direction on,
    v = Σ_t w_t φ_t/sin φ_t (u_t − cos φ_t u), φ_t the angle between u_t and u, and u ← cos|v| u +
    sin|v| v/|v|, until |v| is below the tolerance. Every u is a combination of the u_t, so the iteration is
    one of coefficients, in float64. Directions that cancel, or of which one is opposite to the mean, have no
    such mean and are refused. mergekit takes no weights, and the base, where one is named, as one expert
    more.
    """

    max_iterations: int = Field(10, ge=1)
    """Most steps."""
    tolerance: float = Field(1e-5, gt=0)
    """|v| in radians at which to stop."""

    scope: ClassVar[Scope] = Scope.TENSOR

    def __call__(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> torch.Tensor:
        """Return the merged weights less the base's, of deltas (n_tasks, *shape)."""
        shares = normalised(weights, "'karcher'").double().cpu()
        points = [context.base + delta for delta in deltas]
        products = gram(points)
        norms = products.diagonal().sqrt()
        moved = norms > 0
        if not moved.any():
            return torch.zeros_like(deltas[0])
        lengths = torch.where(moved, norms, 1)
        units = products / (lengths[:, None] * lengths[None, :])
        mean = self._mean(units, torch.where(moved, shares, 0), context.tensor)
        coefficients = (shares @ norms) * mean / lengths
        return weighted_sum(points, coefficients.float().to(weights.device)) - context.base

    def _mean(self, units: torch.Tensor, shares: torch.Tensor, tensor: str) -> torch.Tensor:
        """Return the mean's coefficients of the unit vectors, (n,), from their dot products (n, n)."""
        mean, length = shares, _length(shares, units)
        if length < CANCELLED:
            raise InputError(f"Method 'karcher': the directions of the weights of {tensor!r} cancel.")
        mean = mean / length
        for _ in range(self.max_iterations):
            cosine = (units @ mean).clamp(-1, 1)
            angle = torch.acos(cosine)
            if bool((shares.ne(0) & angle.gt(pi - CANCELLED)).any()):
                raise InputError(
                    f"Method 'karcher': of the weights of {tensor!r} one expert's point straight away from "
                    "the mean, so that no way between them is the shortest; leave it out."
                )
            stretch = torch.where(angle > _SMALLEST, angle / torch.sin(angle).clamp_min(_SMALLEST), 1)
            tangent = shares / shares.sum() * stretch
            tangent = tangent - (tangent @ cosine) * mean
            step = _length(tangent, units)
            if step < self.tolerance:
                break
            mean = torch.cos(step) * mean + torch.sin(step) * tangent / step
            mean = mean / _length(mean, units)
        return mean


def _length(coefficients: torch.Tensor, products: torch.Tensor) -> torch.Tensor:
    """Return the norm of a combination of vectors."""
    return (coefficients @ products @ coefficients).clamp_min(0).sqrt()
