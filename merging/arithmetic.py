"""Arithmetic that several methods share: pure functions on task vectors.

On two cores the time goes into passes over memory, so these use the operations that torch vectorises:
comparisons in place, which give zeros and ones as floats, in place of boolean masks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from merging import kernels
from merging.checkpoints.dtypes import bfloat16_bits
from merging.checkpoints.when_used import torch
from results.errors import InputError

_SMALLEST = float(np.finfo(np.float32).tiny)


def weighted_sum(deltas: Sequence[torch.Tensor] | torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return Σ_t w_t τ_t of deltas (n_tasks, …) and weights (n_tasks,), shaped like one task's delta.

    One multiplication and one addition per task in the order of the tasks, each rounded by itself. A matrix
    product may round the entries at the edges of a block differently.
    """
    if isinstance(deltas, torch.Tensor) and deltas.device.type == "cpu":
        total = torch.empty(deltas.shape[1:], dtype=torch.float32)
        numbers = deltas.reshape(len(deltas), -1).numpy()
        kernels.weighted_sum(numbers, weights.numpy(), total.view(-1).numpy())
        return total
    total = deltas[0] * weights[0]
    for delta, weight in zip(deltas[1:], weights[1:], strict=True):
        add_scaled(total, delta, weight)
    return total


def add_scaled(total: torch.Tensor, delta: torch.Tensor, weight: torch.Tensor) -> None:
    """Add w τ to a contiguous total in place."""
    if total.device.type == "cpu":
        kernels.add_scaled(total.view(-1).numpy(), delta.reshape(-1).numpy(), np.float32(weight))
    else:
        total += delta * weight


def normalised(weights: torch.Tensor, method: str) -> torch.Tensor:
    """Return w_t / Σ_t w_t of weights (n_tasks,).

    Raises:
        InputError: the weights cancel, but for rounding; `method` is what it calls the one that divides.
    """
    return torch.from_numpy(shares_of(weights.cpu().numpy(), method)).to(weights.device)


def shares_of(weights: np.ndarray, method: str) -> np.ndarray:
    """Return the same of weights that are numpy's."""
    values = weights.astype(np.float64)
    total = values.sum()
    if abs(total) <= 1e-6 * np.abs(values).sum():
        raise InputError(
            f"Method {method} divides by the sum of the experts' weights, which is 0; change a weight."
        )
    return (values / total).astype(np.float32)


def consensus(
    deltas: torch.Tensor,
    weights: torch.Tensor,
    thresholds: Sequence[float],
    holds: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    """Return V = Σ_t w_t τ_t, in how many tasks' masks each entry is, and what each mask leaves of its τ_t.

    Args:
        deltas: τ, (n_tasks, …).
        weights: w, (n_tasks,).
        thresholds: λ, one for each task.
        holds: compares |w_t τ_t| in place with λ_t |V − w_t τ_t|, such as `torch.Tensor.gt_`.
    """
    merged = weighted_sum(deltas, weights)
    held, kept = torch.zeros_like(merged), []
    for delta, weight, threshold in zip(deltas, weights, thresholds, strict=True):
        own = delta * weight
        others = (merged - own).abs_().mul_(threshold)
        mask = holds(own.abs_(), others)
        kept.append(delta * mask)
        held += mask
    return merged, held, kept


def sum_of_squares(values: torch.Tensor) -> float:
    """Return Σ x² of float32 values, summed in float64."""
    if values.device.type == "cpu":
        return float(kernels.sum_squares(values.reshape(-1).numpy()))
    return float(values.square().sum(dtype=torch.float64))


def count_nonzero(values: torch.Tensor) -> float:
    """Return how many of some float32 values are not 0."""
    if values.device.type != "cpu":
        return float(values.count_nonzero())
    return float(kernels.count_nonzero(values.reshape(-1).numpy().view(np.uint32)))


def masked(delta: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return a float32 delta with zeros where an int32 mask is 0; where it is −1 the entries stay."""
    return (delta.view(torch.int32) & mask).view(torch.float32)


def elected_sign(votes: torch.Tensor, undecided: int) -> torch.Tensor:
    """Return the sign of each vote as −1.0, 0.0 or 1.0.

    Args:
        votes: any shape.
        undecided: the sign that votes of 0 get: −1, 0 or 1.
    """
    if undecided > 0:
        return votes.clone().lt_(0).mul_(-2).add_(1)
    if undecided < 0:
        return votes.clone().gt_(0).mul_(2).sub_(1)
    return torch.sign(votes)


def agreeing(delta: torch.Tensor, signs: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """Set `out` to the magnitudes of the entries that have the elected sign, and to 0 elsewhere."""
    return torch.mul(delta, signs, out=out).clamp_min_(0)


def disjoint_sum(
    deltas: Sequence[torch.Tensor] | torch.Tensor, weights: torch.Tensor, signs: torch.Tensor
) -> torch.Tensor:
    """Return Σ w_t τ_t over the tasks whose entry has the elected sign, 0 where there are none.

    Args:
        deltas: (n_tasks, …).
        weights: (n_tasks,).
        signs: elected signs −1, 0, 1, in the shape of one task's delta.
    """
    total, magnitudes = torch.zeros_like(signs), torch.empty_like(signs)
    for delta, weight in zip(deltas, weights, strict=True):
        add_scaled(total, agreeing(delta, signs, magnitudes), weight)
    return total.mul_(signs)


def disjoint_mean(
    deltas: Sequence[torch.Tensor] | torch.Tensor,
    weights: torch.Tensor,
    signs: torch.Tensor,
    counts: torch.Tensor,
) -> torch.Tensor:
    """Return Σ w_t τ_t / Σ c_t over the tasks whose entry has the elected sign, 0 where there are none.

    Args:
        deltas, weights, signs: as for `disjoint_sum`.
        counts: how much each task counts in the divisor, at least 0, (n_tasks,): its weight, or 1.
    """
    total, divisor = torch.zeros_like(signs), torch.zeros_like(signs)
    magnitudes, share = torch.empty_like(signs), torch.empty_like(signs)
    for delta, weight, count in zip(deltas, weights, counts, strict=True):
        agreeing(delta, signs, magnitudes)
        add_scaled(total, magnitudes, weight)
        add_scaled(divisor, torch.sign(magnitudes, out=share), count)
    # Where nobody agrees the sum is 0, and any divisor gives 0.
    return total.div_(divisor.clamp_min_(_SMALLEST)).mul_(signs)


def elected(
    deltas: Sequence[torch.Tensor] | torch.Tensor,
    weights: torch.Tensor,
    *,
    undecided: int,
    aggregate: Literal["mean", "sum"],
    method: str,
) -> torch.Tensor:
    """Return the disjoint mean or sum of what has the sign of Σ_t w_t τ_t, as TIES merges.

    Args:
        deltas: (n_tasks, …).
        weights: (n_tasks,).
        undecided: the sign where the sum is 0: −1, 0 or 1.
        aggregate: Σ w_t τ_t / Σ w_t, or Σ w_t τ_t, over the tasks that have the sign.
        method: its name, for the refusal.

    Raises:
        InputError: a weight is negative.
    """
    refuse_negative(weights, method)
    signs = elected_sign(weighted_sum(deltas, weights), undecided)
    if aggregate == "sum":
        return disjoint_sum(deltas, weights, signs)
    return disjoint_mean(deltas, weights, signs, weights)


def refuse_negative(weights: torch.Tensor | np.ndarray, method: str) -> None:
    """Raise InputError where a weight is negative, which would turn an election around."""
    if bool((weights < 0).any()):
        raise InputError(
            f"Method {method!r} elects signs, which needs weights of 0 or more; change a weight."
        )


def the_only_one(deltas: torch.Tensor, weights: torch.Tensor, method: str) -> torch.Tensor:
    """Return the task vector of the one expert that a method merges into the base, without a weight.

    Raises:
        InputError: there are several, or its weight is another than 1.
    """
    if len(deltas) != 1:
        raise InputError(f"Method {method!r} merges one expert into the base, and there are {len(deltas)}.")
    if float(weights[0]) != 1:
        raise InputError(
            f"Method {method!r} takes no weights, and the expert's is {float(weights[0]):g}; leave it out "
            "or make it 1."
        )
    return deltas[0]


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
        return Rounded(weights, bool(largest < kernels.INFINITY), float(sums[0]))
    weights = (base + delta).to(dtype)
    is_finite = weights.numel() == 0 or all(bool(bound.isfinite()) for bound in torch.aminmax(weights))
    lost = (weights.to(torch.float32) - base).sub_(delta).square_().sum(dtype=torch.float64)
    return Rounded(weights, is_finite, float(lost))
