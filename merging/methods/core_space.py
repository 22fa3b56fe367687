"""Core Space: merging low-rank task vectors in the directions that they share on both sides."""

from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar, Self

import torch
from pydantic import model_validator

from merging.known_methods import make_method, register
from merging.matrix_method import MatrixMethod
from merging.method import Context, MergedBlock, Method, Scope
from merging.spectral import shared_directions
from results.errors import InputError

_INSIDE = (
    "tsv_merge",
    "iso",
    "star",
    "cart",
    "task_arithmetic",
    "average",
    "emr",
    "magmax",
    "consensus_ta",
    "sce",
)
"""Methods that merge matrices by themselves: without the base's weights, the whole model, chance or data."""


@register("core_space", paper="https://arxiv.org/abs/2509.17786")
class CoreSpace(MatrixMethod):
    """Δ = λ U · merge(U' τ_1 V, …, U' τ_T V) · V', with U and V the directions of all outputs and inputs.

    U (m, r) has the left singular vectors of [τ_1 | … | τ_T], V (n, s) the right ones of them one below the
    other, without those whose singular value is 1e-5 of the largest or less: of adapters there are at most
    the sum of their ranks, so nothing is lost, and another method merges small matrices. Of each matrix of a
    transformer block; other tensors get λ times their mean.

    The paper takes U and V from the adapters' factors B and A, which have the same spans but other axes: what
    merges singular values and vectors, as `tsv_merge`, `iso` and sums do, gives the same, and what looks at
    single entries does not.
    """

    of: dict[str, Any] = {"name": "tsv_merge"}
    """The method that merges in there, by name, with its settings."""
    scaling: float = 1.0
    """λ."""

    mean_scaled_by: ClassVar[str | None] = "scaling"

    @model_validator(mode="after")
    def _refuse_what_cannot_merge_there(self) -> Self:
        name = str(self.of.get("name"))
        try:
            inner = self.inner
        except InputError as error:
            raise ValueError(f"'of': {error}".rstrip(".")) from None
        if inner.first_passes() or name not in _INSIDE:
            raise ValueError(
                f"'of' cannot be {name!r} so; it takes {', '.join(_INSIDE)}, without first passes"
            )
        return self

    @cached_property
    def inner(self) -> Method:
        """The method that merges in there."""
        settings = dict(self.of)
        return make_method(str(settings.pop("name", "")), settings)

    def of_matrix(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> torch.Tensor:
        """Return the merged delta of deltas (n_tasks, rows, columns)."""
        left, right = shared_directions(deltas), shared_directions(deltas.transpose(1, 2))
        if not left.shape[1]:
            return torch.zeros_like(deltas[0])
        core = left.t() @ deltas @ right
        return (left @ self._merged(core, weights, context) @ right.t()).mul_(self.scaling)

    def _merged(self, core: torch.Tensor, weights: torch.Tensor, context: Context) -> torch.Tensor:
        shape = tuple(core.shape[1:])
        flat = self.inner.block_scope is Scope.ELEMENT
        block = core.reshape(len(core), -1) if flat else core
        there = replace(context, shape=shape, offset=0, base=torch.zeros_like(block[0]))
        merged = self.inner(block.contiguous(), weights, there)
        delta = merged.delta if isinstance(merged, MergedBlock) else merged
        return delta.reshape(shape)
