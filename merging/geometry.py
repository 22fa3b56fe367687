"""Lengths and angles of flattened tensors, in float64, and weights of points along a sphere."""

from collections.abc import Sequence

import torch

_AT_ONCE = 2**20
_PARALLEL = 1e-16
"""Square of the sine up to which two directions count as one, and the way along the sphere as straight."""

CANCELLED = 1e-6
"""Up to this, a mean of unit vectors of float32 is rounding; so is how far two are from being opposite."""


def dot(first: torch.Tensor, second: torch.Tensor) -> float:
    """Return Σ a b of two tensors of one shape, some entries at a time."""
    pairs = zip(first.reshape(-1).split(_AT_ONCE), second.reshape(-1).split(_AT_ONCE), strict=True)
    return sum(float(torch.dot(a.double(), b.double())) for a, b in pairs)


def norm(tensor: torch.Tensor) -> float:
    """Return the L2 norm."""
    return dot(tensor, tensor) ** 0.5


def gram(vectors: Sequence[torch.Tensor] | torch.Tensor) -> torch.Tensor:
    """Return the dot products of every two of n tensors, float64 on the CPU, (n, n)."""
    products = torch.zeros((len(vectors), len(vectors)), dtype=torch.float64)
    for i, first in enumerate(vectors):
        for j, second in enumerate(vectors[: i + 1]):
            products[i, j] = products[j, i] = dot(first, second)
    return products


def cosines(products: torch.Tensor) -> torch.Tensor:
    """Return the cosines of (…, n, n) dot products; 0 beside a vector of length 0."""
    lengths = products.diagonal(dim1=-2, dim2=-1).sqrt()
    pairs = lengths[..., :, None] * lengths[..., None, :]
    return (products / torch.where(pairs > 0, pairs, 1)).clamp(-1, 1)


def cosines_along(
    first: torch.Tensor, second: torch.Tensor, along: int, *, beside_zeros: float
) -> torch.Tensor:
    """Return the cosines along a dimension, float64, with that dimension of length 1.

    Args:
        first: any shape.
        second: of the same shape.
        along: the dimension.
        beside_zeros: what stands for the cosine to a vector of length 0.
    """
    a, b = first.double(), second.double()
    lengths = a.norm(dim=along, keepdim=True) * b.norm(dim=along, keepdim=True)
    products = (a * b).sum(along, keepdim=True)
    return torch.where(lengths > 0, products / torch.where(lengths > 0, lengths, 1), beside_zeros)


def slerp_shares(cosine: torch.Tensor, t: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the coefficients sin((1−t)ω)/sin ω and sin(tω)/sin ω; 1 − t and t where ω is 0 or π.

    Args:
        cosine: cos ω in float64, any shape.
        t: how far from the first to the second.
    """
    parallel = 1 - cosine.square() <= _PARALLEL
    angle = torch.acos(torch.where(parallel, 0, cosine))
    first, second = torch.sin((1 - t) * angle) / torch.sin(angle), torch.sin(t * angle) / torch.sin(angle)
    return torch.where(parallel, 1 - t, first), torch.where(parallel, t, second)
