"""LiNeS: scale a merged delta by the depth of its layer, whatever the method that made it."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar, Self

import torch
from pydantic import model_validator

from merging.arithmetic import weighted_sum
from merging.known_methods import make_method, register
from merging.learned_method import LearnedMethod
from merging.mask_reach import MaskReach
from merging.method import Context, FirstPass, MergedBlock, Method, Scope
from merging.method_file import is_method_file
from results.errors import InputError

_NORMS = "L1 norms of the sum and of the merged delta"


@register("lines", paper="https://arxiv.org/abs/2410.17146")
class Lines(Method):
    """θ = θ₀ + (α + β l/(L − 1)) Δ in block l = 0 … L − 1, with Δ another method's merged delta.

    Shallow layers, which tasks share, change less than deep ones. Tensors outside of blocks get α Δ. By
    default α = ‖Σ_t w_t τ_t‖₁ / (T ‖Δ‖₁) of the whole model, which is 1/T for task arithmetic.
    """

    of: dict[str, Any] = {"name": "task_arithmetic"}
    """The method that makes Δ, one of these by name, with its settings, as in a recipe."""
    alpha: float | None = None
    """α; null takes the above, for methods that see single entries."""
    beta: float = 0.5
    """β; the paper searches 0.1 to 1.0."""

    scope: ClassVar[Scope] = Scope.MODEL
    streamed: ClassVar[bool] = True
    random: ClassVar[bool] = True

    @model_validator(mode="after")
    def _refuse_what_it_cannot_scale(self) -> Self:
        if is_method_file(str(self.of.get("name"))):
            raise ValueError("'of' takes a method by its own name, not from a file")
        try:
            inner = self.inner
        except InputError as error:
            raise ValueError(f"'of': {error}".rstrip(".")) from None
        if isinstance(inner, Lines | LearnedMethod):
            raise ValueError(f"'of' cannot be {self.of['name']!r}")
        if self.alpha is None and inner.block_scope is not Scope.ELEMENT:
            raise ValueError(
                f"'alpha' must be given for {self.of['name']!r}, which sees more than single entries"
            )
        return self

    @cached_property
    def inner(self) -> Method:
        """The method that makes Δ."""
        settings = dict(self.of)
        return make_method(str(settings.pop("name", "")), settings)

    @property
    def block_scope(self) -> Scope:
        """That of the method inside."""
        return self.inner.block_scope

    def first_passes(self) -> dict[str, FirstPass]:
        """Return those of the method inside, and the pass that finds the two norms of α."""
        passes = dict(self.inner.first_passes())
        return passes if self.alpha is not None else {**passes, _NORMS: _Norms(self.inner)}

    def mask_reach(self, weights: Mapping[str, float]) -> MaskReach | None:
        """Return what it is of the method inside."""
        return self.inner.mask_reach(weights)

    def __call__(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> MergedBlock:
        """Return the method's merged block, its delta scaled."""
        block = _block(self.inner, deltas, weights, context)
        scale = self._alpha(context, len(deltas))
        if context.layer is not None:
            scale += self.beta * context.layer / max(context.depth - 1, 1)
        return replace(block, delta=block.delta * scale)

    def _alpha(self, context: Context, n_tasks: int) -> float:
        if self.alpha is not None:
            return self.alpha
        of_sum, of_merged = context.statistics[_NORMS]
        return of_sum / (n_tasks * of_merged) if of_merged else 0.0


def _block(method: Method, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> MergedBlock:
    merged = method(deltas, weights, context)
    return merged if isinstance(merged, MergedBlock) else MergedBlock(merged)


class _Norms:
    """Statistic: ‖Σ_t w_t τ_t‖₁ and ‖Δ‖₁ of the whole model."""

    def __init__(self, method: Method) -> None:
        self._method = method

    def start(self, n_tasks: int) -> torch.Tensor:
        return torch.zeros(2, dtype=torch.float64)

    def observe(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> torch.Tensor:
        both = weighted_sum(deltas, weights), _block(self._method, deltas, weights, context).delta
        return torch.stack([values.abs().sum(dtype=torch.float64).cpu() for values in both])

    def combine(self, total: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
        return total + part

    def finish(self, total: torch.Tensor) -> list[float]:
        return total.tolist()
