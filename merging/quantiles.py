"""Exact quantiles over the whole model of what a method makes of the task vectors."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from merging.method import Context, FirstPass
from merging.thresholds import Ranking

Values = Callable[[torch.Tensor, torch.Tensor, Context], torch.Tensor]
"""Called with deltas (n_tasks, length), weights and the context; values of 0 or more, in the same shape."""


@dataclass(frozen=True)
class Quantiles:
    """Of each task the values at some ranks among those of the whole model, all found in two readings.

    Attributes:
        name: of their statistics, which no others of the method have.
        ranks: by name, the rank from the largest value on, 1 for that one, of so many values.
        values: what is ranked, entry by entry; it may use the statistics of earlier passes.
    """

    name: str
    ranks: Mapping[str, Callable[[int], int]]
    values: Values

    def passes(self) -> dict[str, FirstPass]:
        """Return the passes that find them, by name."""
        passes = {rank: self._ranking(rank).passes() for rank in self.ranks}
        titles = next(iter(passes.values()))
        return {
            f"{self.name}: {title}": _Together({rank: of[title] for rank, of in passes.items()}, self)
            for title in titles
        }

    def of(self, rank: str, context: Context) -> torch.Tensor:
        """Return each task's value at a rank, (n_tasks, 1), from the statistics."""
        found = self._ranking(rank).thresholds(self.own(rank, context))
        return torch.tensor(found, dtype=torch.float32, device=context.base.device)[:, None]

    def own(self, rank: str, context: Context) -> Context:
        """Return the context with the statistics of one rank alone, by the names that the ranking gives."""
        prefix = f"{self.name}: "
        kept = {
            title.removeprefix(prefix): found[rank]
            for title, found in context.statistics.items()
            if title.startswith(prefix)
        }
        return replace(context, statistics=kept)

    def _ranking(self, rank: str) -> Ranking:
        return _AtRank(1.0, per_tensor=False, exact=False, at=self.ranks[rank])


@dataclass(frozen=True)
class _AtRank(Ranking):
    """A ranking whose threshold is the value at a rank of one's own."""

    at: Callable[[int], int] = field(kw_only=True)

    def rank(self, size: int, density: float) -> int:
        return min(max(self.at(size), 1), size)


class _Together:
    """A pass of several rankings of the same values, which are made once of the task vectors."""

    def __init__(self, inner: Mapping[str, FirstPass], quantiles: Quantiles) -> None:
        self._inner, self._quantiles = inner, quantiles

    def start(self, n_tasks: int) -> dict[str, Any]:
        return {rank: one.start(n_tasks) for rank, one in self._inner.items()}

    def observe(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> dict[str, Any]:
        values = self._quantiles.values(deltas, weights, context)
        return {
            rank: one.observe(values, weights, self._quantiles.own(rank, context))
            for rank, one in self._inner.items()
        }

    def combine(self, total: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
        return {rank: one.combine(total[rank], part[rank]) for rank, one in self._inner.items()}

    def finish(self, total: dict[str, Any]) -> dict[str, Any]:
        return {rank: one.finish(total[rank]) for rank, one in self._inner.items()}
