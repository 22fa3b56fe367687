"""Exact quantiles over the whole model of what a method makes of the task vectors."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from merging.method import Context, FirstPass
from merging.thresholds import Ranking

Values = Callable[[torch.Tensor, torch.Tensor, Context], torch.Tensor]
"""Called with deltas (n_tasks, length), weights and the context; values of 0 or more, in the same shape."""


@dataclass(frozen=True)
class Quantile:
    """Of each task the value at a rank among those of the whole model.

    Attributes:
        name: of its statistics, which no other of the method has.
        rank: the rank from the largest value on, 1 for that one, of so many values.
        values: what is ranked, entry by entry; it may use the statistics of earlier passes.
    """

    name: str
    rank: Callable[[int], int]
    values: Values

    def passes(self) -> dict[str, FirstPass]:
        """Return the passes that find it, by name."""
        passes = self._ranking.passes()
        return {self._called(title): _Made(one, self) for title, one in passes.items()}

    def of(self, context: Context) -> torch.Tensor:
        """Return each task's quantile, (n_tasks, 1), from the statistics."""
        found = self._ranking.thresholds(self.own(context))
        return torch.tensor(found, dtype=torch.float32, device=context.base.device)[:, None]

    def own(self, context: Context) -> Context:
        """Return the context with this quantile's statistics alone, by the names that the ranking gives."""
        prefix = self._called("")
        kept = {k.removeprefix(prefix): v for k, v in context.statistics.items() if k.startswith(prefix)}
        return replace(context, statistics=kept)

    @property
    def _ranking(self) -> Ranking:
        return _AtRank(1.0, per_tensor=False, exact=False, at=self.rank)

    def _called(self, title: str) -> str:
        return f"{self.name}: {title}"


@dataclass(frozen=True)
class _AtRank(Ranking):
    """A ranking whose threshold is the value at a rank of one's own."""

    at: Callable[[int], int] = field(kw_only=True)

    def rank(self, size: int, density: float) -> int:
        return min(max(self.at(size), 1), size)


class _Made:
    """A pass of a ranking that sees what is made of the task vectors in their place."""

    def __init__(self, inner: FirstPass, quantile: Quantile) -> None:
        self._inner, self._quantile = inner, quantile

    def start(self, n_tasks: int) -> Any:
        return self._inner.start(n_tasks)

    def observe(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> Any:
        values = self._quantile.values(deltas, weights, context)
        return self._inner.observe(values, weights, self._quantile.own(context))

    def combine(self, total: Any, part: Any) -> Any:
        return self._inner.combine(total, part)

    def finish(self, total: Any) -> Any:
        return self._inner.finish(total)
