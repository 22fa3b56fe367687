"""Methods that change what another method merges."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar, Self

import torch
from pydantic import model_validator

from merging.known_methods import make_method
from merging.learned_method import LearnedMethod
from merging.mask_reach import MaskReach
from merging.measured_method import MeasuredMethod
from merging.method import Context, FirstPass, MergedBlock, Method, Scope
from merging.method_file import is_method_file
from results.errors import InputError


class WrappedMethod(Method):
    """Δ is another method's merged delta."""

    of: dict[str, Any] = {"name": "task_arithmetic"}
    """The method that makes Δ, one of these by name, with its settings, as in a recipe."""

    scope: ClassVar[Scope] = Scope.MODEL
    streamed: ClassVar[bool] = True
    random: ClassVar[bool] = True

    @model_validator(mode="after")
    def _refuse_what_it_cannot_wrap(self) -> Self:
        if is_method_file(str(self.of.get("name"))):
            raise ValueError("'of' takes a method by its own name, not from a file")
        try:
            inner = self.inner
        except InputError as error:
            raise ValueError(f"'of': {error}".rstrip(".")) from None
        if isinstance(inner, WrappedMethod | LearnedMethod | MeasuredMethod):
            raise ValueError(f"'of' cannot be {self.of['name']!r}")
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

    def scope_of(self, shape: tuple[int, ...], layer: int | None) -> Scope:
        """That of the method inside."""
        return self.inner.scope_of(shape, layer)

    def first_passes(self) -> Mapping[str, FirstPass]:
        """Return those of the method inside."""
        return self.inner.first_passes()

    def mask_reach(self, weights: Mapping[str, float]) -> MaskReach | None:
        """Return what it is of the method inside."""
        return self.inner.mask_reach(weights)


def merged_block(
    method: Method, deltas: torch.Tensor, weights: torch.Tensor, context: Context
) -> MergedBlock:
    """Return what a method makes of a block, as a `MergedBlock`."""
    merged = method(deltas, weights, context)
    return merged if isinstance(merged, MergedBlock) else MergedBlock(merged)
