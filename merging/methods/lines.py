"""LiNeS: scale a merged delta by the depth of its layer, whatever the method that made it."""

from dataclasses import replace
from typing import Self

import torch
from pydantic import model_validator

from merging.arithmetic import weighted_sum
from merging.known_methods import register
from merging.method import Context, FirstPass, MergedBlock, Method, Scope
from merging.wrapped_method import WrappedMethod, merged_block

_NORMS = "L1 norms of the sum and of the merged delta"


@register("lines", paper="https://arxiv.org/abs/2410.17146")
class Lines(WrappedMethod):
    """θ = θ₀ + (α + β l/(L − 1)) Δ in block l = 0 … L − 1, with Δ another method's merged delta.

    Shallow layers, which tasks share, change less than deep ones. Tensors outside of blocks get α Δ. By
    default α = ‖Σ_t w_t τ_t‖₁ / (T ‖Δ‖₁) of the whole model, which is 1/T for task arithmetic.
    """

    alpha: float | None = None
    """α; null takes the above, for methods that see single entries."""
    beta: float = 0.5
    """β; the paper searches 0.1 to 1.0."""

    @model_validator(mode="after")
    def _refuse_what_it_cannot_scale(self) -> Self:
        if self.alpha is None and self.inner.block_scope is not Scope.ELEMENT:
            raise ValueError(
                f"'alpha' must be given for {self.of['name']!r}, which sees more than single entries"
            )
        return self

    def first_passes(self) -> dict[str, FirstPass]:
        """Return those of the method inside, and the pass that finds the two norms of α."""
        passes = dict(self.inner.first_passes())
        return passes if self.alpha is not None else {**passes, _NORMS: _Norms(self.inner)}

    def __call__(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> MergedBlock:
        """Return the method's merged block, its delta scaled."""
        block = merged_block(self.inner, deltas, weights, context)
        scale = self._alpha(context, len(deltas))
        if context.layer is not None:
            scale += self.beta * context.layer / max(context.depth - 1, 1)
        return replace(block, delta=block.delta * scale)

    def _alpha(self, context: Context, n_tasks: int) -> float:
        if self.alpha is not None:
            return self.alpha
        of_sum, of_merged = context.statistics[_NORMS]
        return of_sum / (n_tasks * of_merged) if of_merged else 0.0


class _Norms:
    """Statistic: ‖Σ_t w_t τ_t‖₁ and ‖Δ‖₁ of the whole model."""

    def __init__(self, method: Method) -> None:
        self._method = method

    def start(self, n_tasks: int) -> torch.Tensor:
        return torch.zeros(2, dtype=torch.float64)

    def observe(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> torch.Tensor:
        both = weighted_sum(deltas, weights), merged_block(self._method, deltas, weights, context).delta
        return torch.stack([values.abs().sum(dtype=torch.float64).cpu() for values in both])

    def combine(self, total: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
        return total + part

    def finish(self, total: torch.Tensor) -> list[float]:
        return total.tolist()
