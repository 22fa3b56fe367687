"""DELLA: drop entries by chance, small ones more often, and scale up those that are left."""

from typing import Annotated, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator

from merging.arithmetic import elected, weighted_sum
from merging.by_task import of_each_task
from merging.known_methods import register
from merging.method import Context, MergedBlock, Method, Scope
from merging.ranks import ranks_from_smallest

_Share = Annotated[float, Field(ge=0, lt=1)]


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

    drop_rate: _Share | dict[str, _Share] = 0.3
    """p, the mean share of entries dropped, one number for all tasks or one for each by the experts' names;
    0 keeps all, whatever the window."""
    window: _Share | dict[str, _Share] = 0.14
    """ε, by how much the probabilities of the largest and the smallest entry differ, likewise."""
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
        rates, windows = self.drop_rate, self.window
        tasks = [*(rates if isinstance(rates, dict) else windows if isinstance(windows, dict) else ("",))]
        pairs = [
            (
                rates[task] if isinstance(rates, dict) else rates,
                windows.get(task, 0.0) if isinstance(windows, dict) else windows,
            )
            for task in tasks
        ]
        if any(rate > 0 and window / 2 >= min(rate, 1 - rate) for rate, window in pairs):
            raise ValueError("'window' must be less than twice 'drop_rate' and twice 1 − 'drop_rate'")
        return self

    def __call__(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> MergedBlock:
        """Return the merged delta of deltas (n_tasks, rows, length)."""
        rates = of_each_task(self.drop_rate, context.tasks, "della", "drop_rate")
        windows = of_each_task(self.window, context.tasks, "della", "window")
        kept = []
        for task, (delta, rate, window) in enumerate(zip(deltas, rates, windows, strict=True)):
            chance = _chance(delta, rate, window)
            kept.append(delta * (context.uniform(task) < chance) / chance)
        if self.then == "task_arithmetic":
            return MergedBlock(weighted_sum(kept, weights).mul_(self.scaling), kept)
        merged = elected(kept, weights, undecided=0, aggregate=self.aggregate, method="della")
        return MergedBlock(merged.mul_(self.scaling), kept)


def _chance(delta: torch.Tensor, rate: float, window: float) -> torch.Tensor:
    """Return q in the shape of one task's delta."""
    length = delta.shape[-1]
    if length == 1 or rate == 0:
        return torch.full_like(delta, 1 - rate)
    return ranks_from_smallest(delta).mul_(window / (length - 1)).add_(1 - rate - window / 2)
