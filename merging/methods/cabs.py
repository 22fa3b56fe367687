"""CABS: task vectors that are sparse in every stretch of a tensor, and share no entry."""

from typing import ClassVar, Self

import torch
from pydantic import Field, model_validator

from merging.arithmetic import weighted_sum
from merging.known_methods import register
from merging.method import Context, MergedBlock, Method, Scope
from results.errors import InputError


@register("cabs", paper="https://arxiv.org/abs/2503.01874")
class Cabs(Method):
    """θ = θ₀ + λ Σ_t w_t τ̂_t, with τ̂_t the n largest of every m entries of τ_t that no earlier task has kept.

    Of each m consecutive entries of the flattened tensor, one task after the other keeps the n of largest
    magnitude among those that are left; where fewer than n are left, with n·T > m, the largest of the others
    fill up, so that no more are shared than must be. The last stretch may be shorter, of k entries, of which
    ⌈n k/m⌉ are kept; the authors' code leaves it out, and merges two tasks.
    """

    keep: int = Field(64, ge=1)
    """n; 64 of 256 for the authors' language models of 7B, 3 of 32 for their classifiers."""
    of: int = Field(256, ge=1)
    """m."""
    order: list[str] | None = None
    """The experts in the order in which they keep entries; null is that of their names."""
    scaling: float = 1.0
    """λ, which the paper searches, one for each task; `weights` are those."""

    scope: ClassVar[Scope] = Scope.TENSOR

    @model_validator(mode="after")
    def _refuse_more_than_all(self) -> Self:
        if self.keep > self.of:
            raise ValueError(f"'keep' is {self.keep}, which is more than 'of' {self.of}")
        return self

    def __call__(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> MergedBlock:
        """Return the merged delta of deltas (n_tasks, *shape)."""
        flat = deltas.reshape(len(deltas), -1)
        free = torch.ones_like(flat[0])
        kept = torch.zeros_like(flat)
        for place in self._places(context):
            mask = self._largest(flat[place].abs(), free)
            kept[place] = flat[place] * mask
            free *= 1 - mask
        own = kept.reshape(deltas.shape)
        return MergedBlock(weighted_sum(own, weights).mul_(self.scaling), list(own))

    def _largest(self, magnitudes: torch.Tensor, free: torch.Tensor) -> torch.Tensor:
        """Return ones for n of every m flat entries, as `_first` has it, and zeros elsewhere."""
        whole = len(magnitudes) // self.of * self.of
        rest = len(magnitudes) - whole
        groups = _first(magnitudes[:whole].reshape(-1, self.of), free[:whole].reshape(-1, self.of), self.keep)
        last = _first(magnitudes[whole:], free[whole:], -(-self.keep * rest // self.of))
        return torch.cat([groups.reshape(-1), last])

    def _places(self, context: Context) -> list[int]:
        if self.order is None:
            return list(range(len(context.tasks)))
        if sorted(self.order) != sorted(context.tasks):
            raise InputError(
                f"Method 'cabs': setting 'order' is {', '.join(self.order)}, but the experts are "
                f"{', '.join(context.tasks)}; name each once."
            )
        return [context.tasks.index(task) for task in self.order]


def _first(magnitudes: torch.Tensor, free: torch.Tensor, count: int) -> torch.Tensor:
    """Return ones for so many of each last dimension: those that are free first, then by magnitude."""
    order = magnitudes.sort(dim=-1, descending=True, stable=True).indices
    by_freedom = free.gather(-1, order).sort(dim=-1, descending=True, stable=True).indices
    places = order.gather(-1, by_freedom)[..., :count]
    return torch.zeros_like(magnitudes).scatter_(-1, places, 1.0)
