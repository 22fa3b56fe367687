"""OrthoMerge: how each expert turns the base's weights, merged as rotations, and what is left, as a sum."""

from typing import ClassVar

import numpy as np
import torch

from merging.arithmetic import normalised
from merging.cost import Cost
from merging.geometry import CANCELLED
from merging.known_methods import register
from merging.matrix_method import ONE_MATRIX, MatrixMethod
from merging.method import Context
from results.errors import InputError

_OPEN = 1e-9
"""How strongly, beside the largest singular value of W₀' W_t, a rotation is held to none."""


@register("orthomerge", paper="https://arxiv.org/abs/2602.05943")
class OrthoMerge(MatrixMethod):
    """θ = W₀ R + λ Σ_t ρ_t, with R the merged rotation and ρ_t = W_t − W₀ R_t what R_t leaves of an expert.

    1. R_t is the rotation (columns, columns) by which W₀ R_t is nearest to W_t, of the singular vectors of
       W₀' W_t. Where W₀ leaves it open, having fewer rows than columns, it is the one nearest to no rotation.
       The authors' code takes any there, and reflections, for which there is no Q_t.
    2. Q_t = (R_t + I)⁻¹ (R_t − I) is skew. Q = q Σ_t Q_t / ‖Σ_t Q_t‖ with q the mean of ‖Q_t‖, by which tasks
       that turn differently do not shorten each other, and R = (I − Q)⁻¹ (I + Q).

    OrthoMerge-G with task arithmetic of the ρ_t, as in the authors' code, there of the embedding and the head
    too. Of each matrix of a transformer block, found in float64; other tensors get λ Σ_t τ_t. Weights w_t
    count relatively: Q_t and ρ_t are scaled by T w_t / Σ w, 1 in the paper.
    """

    scaling: float = 0.2
    """λ; 0.2 for the five experts of the authors' code."""

    mean_scaled_by: ClassVar[str | None] = "scaling"

    @property
    def cost(self) -> Cost:
        """Beside the tensors, rotations of their columns."""
        return Cost(held=f"{ONE_MATRIX}, and square matrices of its columns, in float64")

    def coefficients(self, weights: np.ndarray) -> np.ndarray:
        """Return λ T w_t / Σ w, for other tensors."""
        return super().coefficients(weights) * len(weights)

    def of_matrix(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> torch.Tensor:
        """Return the merged weights less the base's, of deltas (n_tasks, *shape)."""
        shares = (normalised(weights, "'orthomerge'").double() * len(weights)).tolist()
        base = context.base.double()
        turned = torch.zeros((context.shape[1],) * 2, dtype=torch.float64, device=base.device)
        left_over = torch.zeros_like(base)
        length = 0.0
        for delta, share in zip(deltas, shares, strict=True):
            rotation = _rotation(base, base + delta.double())
            skew = _skew(rotation, context.tensor)
            turned += share * skew
            length += share * float(skew.norm()) / len(deltas)
            left_over += share * (base + delta.double() - base @ rotation)
        norm = float(turned.norm())
        turned *= length / norm if norm > CANCELLED * length else 0.0
        unit = torch.eye(len(turned), dtype=torch.float64, device=base.device)
        merged = base @ torch.linalg.solve(unit - turned, unit + turned)
        return (merged - base + self.scaling * left_over).to(deltas.dtype)


def _rotation(base: torch.Tensor, expert: torch.Tensor) -> torch.Tensor:
    """Return the rotation R (n, n) by which W₀ R is nearest to W_t, both (m, n)."""
    products = base.t() @ expert
    held = _OPEN * torch.linalg.matrix_norm(products, 2)
    left, _, right = torch.linalg.svd(products + held * torch.eye(len(products), device=base.device))
    if torch.linalg.slogdet(left @ right).sign < 0:
        left[:, -1] *= -1
    return left @ right


def _skew(rotation: torch.Tensor, tensor: str) -> torch.Tensor:
    """Return (R + I)⁻¹ (R − I), made exactly skew."""
    unit = torch.eye(len(rotation), dtype=rotation.dtype, device=rotation.device)
    try:
        skew = torch.linalg.solve(rotation + unit, rotation - unit)
    except torch.linalg.LinAlgError:
        raise InputError(
            f"Method 'orthomerge': an expert turns {tensor!r} by half a turn, which has no skew matrix."
        ) from None
    return (skew - skew.t()) / 2
