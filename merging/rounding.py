"""Adding a merged delta to the base, in the dtype that is stored, and what rounding to it loses."""

from dataclasses import dataclass

import numpy as np
import torch

from merging import kernels
from merging.checkpoints.dtypes import bfloat16_bits

INFINITY = int(np.float32(np.inf).view(np.uint32))
"""Bits of infinity, the least among those of magnitudes that are not finite."""


@dataclass(frozen=True)
class Rounded:
    """Merged weights as they are stored.

    Attributes:
        weights: θ₀ + Δ in the stored dtype, shaped like Δ.
        is_finite: whether all of them are.
        lost: Σ (weights − θ₀ − Δ)², the squared L2 distance between the delta that is stored and Δ.
    """

    weights: torch.Tensor
    is_finite: bool
    lost: float


def add_rounded(base: torch.Tensor, delta: torch.Tensor, dtype: torch.dtype) -> Rounded:
    """Return θ₀ + Δ of float32 tensors of one shape, rounded to the nearest number of a dtype."""
    if dtype == torch.bfloat16 and base.device.type == "cpu":
        weights, sums = torch.empty_like(base, dtype=dtype), np.zeros(1)
        flat = bfloat16_bits(weights.view(-1))
        largest = kernels.add_into_bfloat16(base.reshape(-1).numpy(), delta.reshape(-1).numpy(), flat, sums)
        return Rounded(weights, bool(largest < INFINITY), float(sums[0]))
    weights = (base + delta).to(dtype)
    is_finite = weights.numel() == 0 or all(bool(bound.isfinite()) for bound in torch.aminmax(weights))
    lost = (weights.to(torch.float32) - base).sub_(delta).square_().sum(dtype=torch.float64)
    return Rounded(weights, is_finite, float(lost))
