"""Descent of a loss whose gradient is known in closed form."""

from collections.abc import Callable

import torch

_FIRST, _SECOND, _SMALLEST = 0.9, 0.999, 1e-8
"""Adam's β₁, β₂ and ε."""


def adam(
    point: torch.Tensor,
    gradient: Callable[[torch.Tensor], torch.Tensor],
    *,
    steps: int,
    learning_rate: float,
) -> torch.Tensor:
    """Move a point by steps of Adam (arXiv 1412.6980), in place, and return it.

    Args:
        point: where to start.
        gradient: returns the loss's gradient at a point, in its shape.
        steps: how many steps.
        learning_rate: about how far an entry moves in one.
    """
    first, second = torch.zeros_like(point), torch.zeros_like(point)
    for step in range(1, steps + 1):
        slope = gradient(point)
        first.lerp_(slope, 1 - _FIRST)
        second.mul_(_SECOND).addcmul_(slope, slope, value=1 - _SECOND)
        length = (second / (1 - _SECOND**step)).sqrt_().add_(_SMALLEST)
        point.addcdiv_(first, length, value=-learning_rate / (1 - _FIRST**step))
    return point
