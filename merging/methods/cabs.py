"""CABS: task vectors that are sparse in every stretch of a tensor, and share no entry."""

from typing import ClassVar, Self

import torch
from pydantic import Field, model_validator

from merging.arithmetic import weighted_sum
from merging.known_methods import register
from merging.method import Context, MergedBlock, Method, Scope
from merging.ranks import keep_ranks
from results.errors import InputError


@register("cabs", paper="https://github.com/zongzhenyang/CABS")
class Cabs(Method):
    """θ = θ₀ + λ Σ_t w_t τ̂_t, with τ̂_t the n largest of every m entries of τ_t that no earlier task has kept.

    Of each m consecutive entries of the flattened tensor, one task after the other keeps the n of largest
    magnitude among those that are left; fewer where fewer are left, which with n·T > m befalls later tasks.
    The last stretch may be shorter, of k entries, of which ⌈n k/m⌉ are kept; the authors' code leaves it out,
    and merges two tasks.
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
            kept[place] = self._largest(flat[place] * free)
            free[kept[place] != 0] = 0
        own = kept.reshape(deltas.shape)
        return MergedBlock(weighted_sum(own, weights).mul_(self.scaling), list(own))

    def _largest(self, entries: torch.Tensor) -> torch.Tensor:
        """Return flat entries with zeros but for the n largest magnitudes of every m."""
        whole = len(entries) // self.of * self.of
        rest = len(entries) - whole
        groups = keep_ranks(entries[:whole].reshape(-1, self.of), 0, self.keep).reshape(-1)
        if not rest:
            return groups
        return torch.cat([groups, keep_ranks(entries[whole:], 0, -(-self.keep * rest // self.of))])

    def _places(self, context: Context) -> list[int]:
        if self.order is None:
            return list(range(len(context.tasks)))
        if sorted(self.order) != sorted(context.tasks):
            raise InputError(
                f"Method 'cabs': setting 'order' is {', '.join(self.order)}, but the experts are "
                f"{', '.join(context.tasks)}; name each once."
            )
        return [context.tasks.index(task) for task in self.order]
