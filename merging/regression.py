"""The least squares by which RegMean merges a linear layer."""

from collections.abc import Iterable
from math import isfinite

import torch

from merging.arithmetic import weighted_sum
from results.errors import InputError

_RIDGE = 1e-6
"""Of the mean of the diagonal, added to it: directions that no input has are averaged."""


def scaled_off_diagonal(gram: torch.Tensor, alpha: float) -> torch.Tensor:
    """Return α G + (1 − α) diag(G)."""
    scaled = gram * alpha
    scaled.diagonal().copy_(gram.diagonal())
    return scaled


def regression_mean(
    deltas: torch.Tensor, grams: Iterable[torch.Tensor], weights: torch.Tensor, alpha: float
) -> torch.Tensor:
    """Return the Δ that makes Σ_t w_t ‖X_t (Δ − τ_t)'‖² least, with off-diagonals of the X_t'X_t scaled by α.

    Args:
        deltas: τ_t, (n_tasks, outputs, inputs).
        grams: X_t'X_t, (inputs, inputs) each, in the order of the deltas; one is in memory at a time.
        weights: w_t, (n_tasks,), which add up to 1.
        alpha: α.

    Returns:
        Δ (outputs, inputs) in float32, by a Cholesky decomposition in float64.

    Raises:
        InputError: a matrix is not finite.
    """
    mean = weighted_sum(deltas, weights)
    width = deltas.shape[2]
    total = torch.zeros(width, width, dtype=torch.float64, device=deltas.device)
    right = torch.zeros(width, deltas.shape[1], dtype=torch.float64, device=deltas.device)
    for delta, gram, weight in zip(deltas, grams, weights, strict=True):
        own = scaled_off_diagonal(gram.to(deltas.device, torch.float64), alpha) * weight
        total += own
        # Relative to the mean, so that what no input tells apart stays there.
        right += own @ (delta - mean).t().double()
    ridge = _RIDGE * float(total.diagonal().mean())
    if ridge == 0:
        return mean
    while isfinite(ridge):
        total.diagonal().add_(ridge)
        factor, failed = torch.linalg.cholesky_ex(total)
        if not failed:
            return mean + torch.cholesky_solve(right, factor).t().float()
        ridge *= 10  # sums in float32 of inputs with a few huge entries may have negative eigenvalues
    raise InputError("A matrix of measured inputs holds NaN or infinity; measure the experts again.")


def merged_layer(
    deltas: torch.Tensor,
    grams: Iterable[torch.Tensor],
    weights: torch.Tensor,
    alpha: float,
    *,
    turned: bool,
) -> torch.Tensor:
    """Return `regression_mean` of a layer's weights; turned ones are (inputs, outputs)."""
    if not turned:
        return regression_mean(deltas, grams, weights, alpha)
    return regression_mean(deltas.transpose(1, 2), grams, weights, alpha).t().contiguous()
