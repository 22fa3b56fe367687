"""DARE: drop entries of each task vector by chance, and scale up those that are left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from merging.arithmetic import elected, masked, weighted_sum
from merging.by_task import of_each_task
from merging.checkpoints.when_used import torch
from merging.known_methods import register
from merging.method import Context, FirstPass, MergedBlock, Method, Scope
from merging.methods.ties import MAJORITY, MajoritySign
from merging.noise import kept_below
from merging.sparse_kernels import merge_dropped
from merging.stored_block import MergedStored, StoredBlock

_Rate = Annotated[float, Field(ge=0, lt=1)]


@register("dare", paper="https://arxiv.org/abs/2311.03099")
class Dare(Method):
    """τ̃_t = m_t ⊙ τ_t / (1 − p) with m_t ~ Bernoulli(1 − p) for each entry, then task arithmetic or TIES.

    Task arithmetic gives θ = θ₀ + λ Σ_t w_t τ̃_t; TIES elects a sign for each entry and takes λ times the
    disjoint mean, without trimming, which dropping has done already. An entry's mask depends on the seed, the
    expert's weights, the tensor's name and the entry's position in it, and on nothing else.
    """

    drop_rate: _Rate | dict[str, _Rate] = 0.9
    """p, one number for all tasks or one for each by the experts' names; papers use 0.5 to 0.9 and more,
    MergeBench 0.8."""
    scaling: float = 1.0
    """λ."""
    then: Literal["task_arithmetic", "ties"] = "task_arithmetic"
    """What merges the task vectors that are left."""
    aggregate: Literal["mean", "sum"] = "mean"
    """After the election the disjoint `mean`, or the disjoint `sum`, which is the default of mergekit's
    `dare_ties`."""

    rescale: bool = True
    """Divide what is left by 1 − p, which keeps the expectation."""

    scope: ClassVar[Scope] = Scope.ELEMENT
    random: ClassVar[bool] = True

    def first_passes(self) -> dict[str, FirstPass]:
        """Return the pass that finds the majority sign, which TIES gives to undecided entries."""
        return {MAJORITY: MajoritySign(self._dropped, weighted_sum)} if self.then == "ties" else {}

    def __call__(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> MergedBlock:
        """Return the merged delta of flat deltas (n_tasks, length)."""
        dropped = self._dropped(deltas, context)
        # All that follows is linear in a common factor, so it is applied once.
        factor = self.scaling * self._common_factor
        if self.then == "task_arithmetic":
            return MergedBlock(weighted_sum(dropped, weights).mul_(factor), dropped)
        undecided = context.statistics[MAJORITY]
        merged = elected(dropped, weights, undecided=undecided, aggregate=self.aggregate, method="dare")
        return MergedBlock(merged.mul_(factor), dropped)

    def merge_stored(self, block: StoredBlock, weights: np.ndarray) -> MergedStored | None:
        """Merge a block as it is stored, where there is one drop rate and task arithmetic follows."""
        if type(self) is not Dare or self.then != "task_arithmetic" or isinstance(self.drop_rate, dict):
            return None
        keys = [block.word_key(task) for task in range(len(block.experts))]
        if any(key is None for key in keys):
            return None
        below = np.full(len(keys), kept_below(1 - self.drop_rate), dtype=np.uint32)
        scaling = np.float32(self.scaling * self._common_factor)
        return block.merge(merge_dropped, (below, np.array(keys), weights, scaling), sparse=True)

    def _dropped(self, deltas: torch.Tensor, context: Context) -> Sequence[torch.Tensor]:
        rates = of_each_task(self.drop_rate, context.tasks, "dare", "drop_rate")
        left = [
            masked(delta, context.keep_mask(task, 1 - rate))
            for task, (delta, rate) in enumerate(zip(deltas, rates, strict=True))
        ]
        if self.rescale and isinstance(self.drop_rate, dict):
            return [delta / (1 - rate) for delta, rate in zip(left, rates, strict=True)]
        return left

    @property
    def _common_factor(self) -> float:
        return 1.0 if not self.rescale or isinstance(self.drop_rate, dict) else 1 / (1 - self.drop_rate)
