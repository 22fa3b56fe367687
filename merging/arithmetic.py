"""Arithmetic that several methods share: pure functions on task vectors."""

import torch


def weighted_sum(deltas: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return Σ_t w_t τ_t of deltas (n_tasks, …) and weights (n_tasks,), shaped like one task's delta.

    One multiplication and one addition per task in the order of the tasks, each rounded by itself. A matrix
    product may round the entries at the edges of a block differently.
    """
    total = deltas[0] * weights[0]
    product = torch.empty_like(total)
    for delta, weight in zip(deltas[1:], weights[1:], strict=True):
        torch.mul(delta, weight, out=product)
        total += product
    return total


def sum_of_weights(weights: torch.Tensor) -> float:
    """Return Σ_t w_t, and exactly 0 where only rounding keeps the weights from cancelling."""
    values = weights.to(torch.float64)
    total = float(values.sum())
    return 0.0 if abs(total) <= 1e-6 * float(values.abs().sum()) else total
