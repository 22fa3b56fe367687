"""PCB-Merging: weigh every entry of every task by how it competes within its task and with the others."""

from math import floor
from typing import ClassVar

import torch
from pydantic import Field

from merging.arithmetic import weighted_sum
from merging.known_methods import register
from merging.method import Context, FirstPass, MergedBlock, Method, Scope
from merging.quantiles import Quantiles

_OUTSIDE = 1e-4


@register("pcb", paper="https://arxiv.org/abs/2410.02396")
class Pcb(Method):
    """θ = θ₀ + λ Σ_t s_t τ̂_t / Σ_t s_t for each entry, by b_t = exp(T ρ_t²) · tanh(τ_t Σ_k τ_k).

    1. Magnitudes of τ̂_t are cut to between those at 0.01 % and at 99.99 % of the whole model, and ρ_t
       says where in between, from 0 to 1.
    2. s_t = max(0, b_t − q_t)/(b_t's largest − q_t), q_t being the (1 − r)-quantile of b_t in the whole
       model, r being `density`. Negative b_t, of entries against the sum, count as 0.

    Entries without any s_t go back to the base. Ranks are those of the authors' code: of d entries in order,
    from 0 on, ⌊d/10⁴⌋, ⌊d (1 − 10⁻⁴) − 1⌋ and ⌊d (1 − r)⌋. For τ_t stands w_t τ_t; the paper has no weights
    w_t. The experts are read four times before they are merged.
    """

    density: float = Field(0.1, gt=0, lt=1)
    """r, the share of entries that count; 0.05 in the paper's search by evolution."""
    scaling: float = 1.0
    """λ, which the paper searches on validation data."""

    scope: ClassVar[Scope] = Scope.MODEL
    streamed: ClassVar[bool] = True

    def first_passes(self) -> dict[str, FirstPass]:
        """Return the passes that find the magnitudes to cut at, and the quantile and the largest of b_t."""
        return _MAGNITUDES.passes() | self._competitions.passes()

    def __call__(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> MergedBlock:
        """Return the merged delta of flat deltas (n_tasks, length)."""
        cut = self._competitions.of("cut", context)
        span = self._competitions.of("largest", context) - cut
        above = (_competition(deltas, weights, context) - cut).clamp_min_(0)
        shares = above / torch.where(span > 0, span, 1)
        own = deltas * weights[:, None]
        clipped = torch.sign(own) * own.abs().clamp(*_bounds(context))
        equally = torch.ones_like(weights)
        total, divisor = weighted_sum(clipped * shares, equally), weighted_sum(shares, equally)
        merged = torch.where(divisor > 0, total / divisor, 0)
        return MergedBlock(merged.mul_(self.scaling), list(deltas * shares.gt(0)))

    @property
    def _competitions(self) -> Quantiles:
        ranks = {"cut": lambda size: size - floor(size * (1 - self.density)), "largest": lambda size: 1}
        return Quantiles("competition", ranks, _competition)


def _magnitudes(deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> torch.Tensor:
    return (deltas * weights[:, None]).abs_()


def _competition(deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> torch.Tensor:
    """Return max(0, b_t), (n_tasks, length)."""
    low, high = _bounds(context)
    own, span = deltas * weights[:, None], high - low
    place = (own.abs().clamp_(low, high) - low) / torch.where(span > 0, span, 1)
    within = torch.exp(place.square_().mul_(len(deltas)))
    against = torch.tanh(own * weighted_sum(deltas, weights))
    return within.mul_(against).clamp_min_(0)


def _bounds(context: Context) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each task's magnitudes to cut at, (n_tasks, 1)."""
    return _MAGNITUDES.of("low", context), _MAGNITUDES.of("high", context)


_MAGNITUDES = Quantiles(
    "magnitudes",
    {
        "low": lambda size: size - floor(size * _OUTSIDE),
        "high": lambda size: size - floor(size * (1 - _OUTSIDE) - 1),
    },
    _magnitudes,
)
