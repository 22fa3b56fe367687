"""The conjugate gradient method, for linear systems that are given as a function of matrices."""

from collections.abc import Callable

import torch


def conjugate_gradient(
    product: Callable[[torch.Tensor], torch.Tensor],
    right: torch.Tensor,
    first: torch.Tensor,
    *,
    iterations: int,
    tolerance: float,
) -> torch.Tensor:
    """Return x near to where A x = b, for a symmetric A without negative eigenvalues.

    Args:
        product: A x.
        right: b, of any shape.
        first: the x to begin at, of the same shape.
        iterations: at most so many.
        tolerance: it ends where ‖b − A x‖ is at most this part of ‖b‖.
    """
    found = first.clone()
    residual = right - product(found)
    direction = residual.clone()
    squares = _dot(residual, residual)
    enough = tolerance**2 * _dot(right, right)
    for _ in range(iterations):
        if squares <= enough:
            break
        turned = product(direction)
        curvature = _dot(direction, turned)
        if curvature <= 0:  # nothing but rounding is left
            break
        step = squares / curvature
        found += step * direction
        residual -= step * turned
        before, squares = squares, _dot(residual, residual)
        direction = residual + squares / before * direction
    return found


def _dot(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one.double() * other.double()).sum())
