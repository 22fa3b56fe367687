"""DELLA: drop entries by chance, small ones more often, and scale up those that are left."""

from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator

from merging.arithmetic import elected, weighted_sum
from merging.known_methods import register
from merging.method import Context, MergedBlock, Method, Scope
from merging.ranks import ranks_from_smallest


@register("della", paper="https://arxiv.org/abs/2406.11617")
class Della(Method):
    """τ̃_t = m_t ⊙ τ_t / q_t with m_t ~ Bernoulli(q_t), then an elected sign and λ times the disjoint mean.

    Within each row (last dimension) of n entries the one of rank r by magnitude, 1 for the smallest, is kept
    with the probability q = (1 − p) − ε/2 + ε (r − 1)/(n − 1), p being `drop_rate` and ε `window`; the entry
    of a row of one with 1 − p. Dividing by q keeps the expectation. Entries whose sum cancels go back to the
    base. Masks depend on what DARE's depend on. Defaults are those of the example of the authors' code but
    for λ, there 1.1.

    mergekit's `della` has half the window as `epsilon`, and one factor for a tensor, which keeps its L1 norm,
    in place of 1/q: by that small entries come out too small and large ones too large.
    """

    drop_rate: float = Field(0.3, gt=0, lt=1)
    """p, the mean share of entries dropped."""
    window: float = Field(0.14, ge=0, lt=1)
    """ε, by how much the probabilities of the largest and the smallest entry differ."""
    scaling: float = 1.0
    """λ."""
    then: Literal["ties", "task_arithmetic"] = "ties"
    """What merges the task vectors that are left; `ties` elects, without trimming."""
    aggregate: Literal["mean", "sum"] = "mean"
    """After the election the disjoint `mean`, or the disjoint `sum`."""

    scope: ClassVar[Scope] = Scope.ROW
    random: ClassVar[bool] = True

    @model_validator(mode="after")
    def _refuse_certain_drops(self) -> Self:
        if self.window / 2 >= min(self.drop_rate, 1 - self.drop_rate):
            raise ValueError("'window' must be less than twice 'drop_rate' and twice 1 − 'drop_rate'")
        return self

    def __call__(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> MergedBlock:
        """Return the merged delta of deltas (n_tasks, rows, length)."""
        chances = self._chances(deltas)
        kept = [
            delta / chance * (context.uniform(task) < chance)
            for task, (delta, chance) in enumerate(zip(deltas, chances, strict=True))
        ]
        if self.then == "task_arithmetic":
            return MergedBlock(weighted_sum(kept, weights).mul_(self.scaling), kept)
        merged = elected(kept, weights, undecided=0, aggregate=self.aggregate, method="della")
        return MergedBlock(merged.mul_(self.scaling), kept)

    def _chances(self, deltas: torch.Tensor) -> torch.Tensor:
        """Return q in the shape of the deltas."""
        length = deltas.shape[-1]
        if length == 1:
            return torch.full_like(deltas, 1 - self.drop_rate)
        lowest = 1 - self.drop_rate - self.window / 2
        return ranks_from_smallest(deltas).mul_(self.window / (length - 1)).add_(lowest)
