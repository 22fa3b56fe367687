"""Exact magnitude thresholds of task vectors, found by counting bits, in memory that does not grow.

A float32's magnitude orders as its bits do, read as an integer. One pass counts how often each value of the
upper 16 bits occurs, which tells the upper half of the threshold; a second counts the lower 16 bits of the
entries that share it, which tells the rest. Where exactly so many entries are to be kept, a third finds the
position at which those equal to the threshold run out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from merging.by_task import of_each_task
from merging.checkpoints.when_used import torch
from merging.kernels import INFINITY
from merging.method import Context, FirstPass, Place
from merging.sparse_kernels import count_into_lower, count_into_upper, count_lower_bits, count_upper_bits
from merging.stored_block import StoredBlock

Bounds = tuple[np.ndarray, np.ndarray, np.ndarray]
"""As `sparse_kernels.merge_trimmed` takes them, (n_tasks,) each."""
_UPPER, _LOWER, _CUTS = "upper bits of the magnitudes", "lower bits of the magnitudes", "equal magnitudes"


@dataclass(frozen=True)
class Ranking:
    """Which entries of a task vector are kept for their magnitude.

    Attributes:
        density: K, the share that is kept, in (0, 1]; one number, or one by task.
        per_tensor: rank within each tensor; else over the whole task vector.
        exact: keep max(1, ⌊K·d⌋) of d entries, of equal ones the first by tensor name and position. Else
            keep every entry whose magnitude is at least the (d − ⌊K·d⌋)-th smallest, which are ⌊K·d⌋ + 1 or
            more.
    """

    density: float | Mapping[str, float]
    per_tensor: bool
    exact: bool

    def passes(self) -> dict[str, FirstPass]:
        """Return the first passes that `trim` needs, by name."""
        passes: dict[str, FirstPass] = {_UPPER: _UpperBits(self), _LOWER: _LowerBits(self)}
        if self.exact:
            passes[_CUTS] = _Cuts(self)
        return passes

    def trim(self, deltas: torch.Tensor, context: Context) -> list[torch.Tensor]:
        """Return each task's flat block with zeros for the entries that are not kept."""
        group = self.group(context)
        thresholds = self.thresholds(context)
        cuts = context.statistics[_CUTS].get(group, {}) if self.exact else {}
        return [
            _trimmed(delta, threshold, _kept_equals(cuts.get(str(task)), context, len(delta)))
            for task, (delta, threshold) in enumerate(zip(deltas, thresholds, strict=True))
        ]

    def bounds(self, context: Place, length: int) -> Bounds:
        """Return above which magnitudes entries of a block of some length are kept, as `trim` keeps them."""
        thresholds = np.array(self.thresholds(context), dtype=np.float32)
        cuts = context.statistics[_CUTS].get(self.group(context), {}) if self.exact else {}
        equals = [_kept_equals(cuts.get(str(task)), context, length) for task in range(len(thresholds))]
        return np.nextafter(thresholds, np.float32(-np.inf)), thresholds, np.array(equals, dtype=np.int64)

    def thresholds(self, context: Place) -> list[float]:
        """Return each task's magnitude from which on entries are kept."""
        found: list[float] = context.statistics[_LOWER][self.group(context)]["thresholds"]
        return found

    def group(self, context: Place) -> str:
        """Return the name of what a block is ranked within."""
        return context.tensor if self.per_tensor else "model"

    def densities(self, context: Place) -> list[float]:
        """Return each task's share."""
        return of_each_task(self.density, context.tasks, "ties", "density")

    def rank(self, size: int, density: float) -> int:
        """Return how many of `size` magnitudes are at least the threshold, were they all different."""
        kept = int(size * density)
        return max(kept, 1) if self.exact else min(kept + 1, size)


def _trimmed(delta: torch.Tensor, threshold: float, equals: int) -> torch.Tensor:
    """Keep entries above a threshold, and of those equal to it the ones before an index."""
    # hardshrink keeps what is strictly above its bound, in one pass over memory.
    hardshrink = torch.nn.functional.hardshrink
    below = float(np.nextafter(np.float32(threshold), np.float32(-np.inf)))
    if equals == len(delta):
        return hardshrink(delta, below)
    if equals == 0:
        return hardshrink(delta, threshold)
    return torch.cat((hardshrink(delta[:equals], below), hardshrink(delta[equals:], threshold)))


def _kept_equals(cut: Sequence[Any] | None, context: Place, length: int) -> int:
    """Return how many entries of a block lie before a cut (tensor, position); all where there is none."""
    if cut is None:
        return length
    tensor, position = cut
    if context.tensor != tensor:
        return length if context.tensor < tensor else 0
    return min(max(position - context.offset, 0), length)


@dataclass
class _Counts:
    """How often each value occurs in a piece or a group, (n_tasks, values), and where it lies."""

    group: str
    densities: list[float]
    size: int
    counts: np.ndarray
    earlier: dict[str, Any]


@dataclass
class _Total:
    """The counts of the present group, and what was decided for those before it."""

    present: _Counts | None = None
    decided: dict[str, Any] = field(default_factory=dict)


class _CountingPass(ABC):
    """A pass that counts values group by group; the pieces of a group come one after the other."""

    def __init__(self, ranking: Ranking) -> None:
        self.ranking = ranking

    def start(self, n_tasks: int) -> _Total:
        return _Total()

    def observe(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> _Counts:
        return self._part(self.count(deltas, self._earlier(context)), deltas.shape[1], context)

    def observe_stored(self, block: StoredBlock, weights: np.ndarray) -> _Counts | None:
        counts = self.count_stored(block, self._earlier(block.context))
        return None if counts is None else self._part(counts, block.base.size, block.context)

    def _part(self, counts: np.ndarray, length: int, context: Place) -> _Counts:
        densities = self.ranking.densities(context)
        return _Counts(self.ranking.group(context), densities, length, counts, self._earlier(context))

    def _earlier(self, context: Place) -> dict[str, Any]:
        found = context.statistics.get(_UPPER, {})
        earlier: dict[str, Any] = found[self.ranking.group(context)] if found else {}
        return earlier

    def combine(self, total: _Total, part: _Counts) -> _Total:
        if total.present is None or part.group != total.present.group:
            self._close(total)
            part.counts = part.counts.astype(np.int64)  # which a model's entries fit into, not only a piece's
            total.present = part
        else:
            total.present.size += part.size
            total.present.counts += part.counts
        return total

    def finish(self, total: _Total) -> dict[str, Any]:
        self._close(total)
        return total.decided

    def _close(self, total: _Total) -> None:
        if total.present is not None:
            total.decided[total.present.group] = self.decide(total.present)

    @abstractmethod
    def count(self, deltas: torch.Tensor, earlier: dict[str, Any]) -> np.ndarray:
        """Return (n_tasks, values) counts of a piece's deltas (n_tasks, length)."""

    @abstractmethod
    def count_stored(self, block: StoredBlock, earlier: dict[str, Any]) -> np.ndarray | None:
        """Return the same of a piece as it is stored; None where a number is not finite."""

    @abstractmethod
    def decide(self, group: _Counts) -> dict[str, Any]:
        """Return the group's statistic."""


class _UpperBits(_CountingPass):
    """Statistic by group: each task's upper bits of the threshold, and its rank where they are shared."""

    def count(self, deltas: torch.Tensor, earlier: dict[str, Any]) -> np.ndarray:
        return _count_upper_bits(deltas) if deltas.device.type == "cpu" else _bin_upper_bits(deltas)

    def count_stored(self, block: StoredBlock, earlier: dict[str, Any]) -> np.ndarray | None:
        counts = np.zeros((len(block.experts), 2**15), dtype=np.int32)
        largest = count_upper_bits(block.base, block.experts, counts)
        return counts if largest < INFINITY else None

    def decide(self, group: _Counts) -> dict[str, Any]:
        wanted = [self.ranking.rank(group.size, density) for density in group.densities]
        values, ranks = zip(
            *(_at_rank(row, rank) for row, rank in zip(group.counts, wanted, strict=True)), strict=True
        )
        return {"upper": list(values), "ranks": list(ranks)}


class _LowerBits(_CountingPass):
    """Statistic by group: each task's threshold, and how many equal to it are kept (null for all)."""

    def count(self, deltas: torch.Tensor, earlier: dict[str, Any]) -> np.ndarray:
        count = _count_lower_bits if deltas.device.type == "cpu" else _bin_lower_bits
        return count(deltas, earlier["upper"])

    def count_stored(self, block: StoredBlock, earlier: dict[str, Any]) -> np.ndarray | None:
        counts = np.zeros((len(block.experts), 2**16), dtype=np.int32)
        uppers = np.array(earlier["upper"], dtype=np.uint32)
        largest = count_lower_bits(block.base, block.experts, uppers, counts)
        return counts if largest < INFINITY else None

    def decide(self, group: _Counts) -> dict[str, Any]:
        thresholds, equals = [], []
        uppers, ranks = group.earlier["upper"], group.earlier["ranks"]
        for row, upper, rank in zip(group.counts, uppers, ranks, strict=True):
            lower, left = _at_rank(row, rank)
            thresholds.append(float(np.array(upper << 16 | lower, dtype=np.int32).view(np.float32)))
            equals.append(None if left == int(row[lower]) else left)
        return {"thresholds": thresholds, "equals": equals}


def _count_upper_bits(deltas: torch.Tensor) -> np.ndarray:
    counts = np.zeros((len(deltas), 2**15), dtype=np.int64)
    for delta, row in zip(deltas.numpy(), counts, strict=True):
        count_into_upper(delta.view(np.uint32), row)
    return counts


def _bin_upper_bits(deltas: torch.Tensor) -> np.ndarray:
    bins = [torch.bincount(row, minlength=2**15) for row in _magnitudes(deltas) >> 16]
    return torch.stack(bins).cpu().numpy()


def _count_lower_bits(deltas: torch.Tensor, uppers: Sequence[int]) -> np.ndarray:
    counts = np.zeros((len(deltas), 2**16), dtype=np.int64)
    for delta, row, upper in zip(deltas.numpy(), counts, uppers, strict=True):
        count_into_lower(delta.view(np.uint32), np.uint32(upper), row)
    return counts


def _bin_lower_bits(deltas: torch.Tensor, uppers: Sequence[int]) -> np.ndarray:
    sharing = [row[row >> 16 == upper] for row, upper in zip(_magnitudes(deltas), uppers, strict=True)]
    bins = [torch.bincount(row & 0xFFFF, minlength=2**16) for row in sharing]
    return torch.stack(bins).cpu().numpy()


def _magnitudes(deltas: torch.Tensor) -> torch.Tensor:
    """Return the bits of float32 magnitudes as int32, which order as they do."""
    return deltas.view(torch.int32) & 0x7FFFFFFF


def _at_rank(counts: np.ndarray, rank: int) -> tuple[int, int]:
    """Return the value of the entry at a rank, counted from the largest, and its rank within that value."""
    from_above = counts[::-1].cumsum()
    index = int(np.searchsorted(from_above, rank))
    return len(counts) - 1 - index, rank - int(from_above[index] - counts[::-1][index])


class _Cuts:
    """Statistic by group and task: (tensor, position) from which on those equal to the threshold are dropped.

    A task has none where all of them are kept.
    """

    def __init__(self, ranking: Ranking) -> None:
        self.ranking = ranking

    def start(self, n_tasks: int) -> dict[str, Any]:
        return {"cuts": {}, "seen": {}}

    def observe(
        self, deltas: torch.Tensor, weights: torch.Tensor, context: Context
    ) -> list[tuple[str, str, str, int, torch.Tensor]]:
        group = self.ranking.group(context)
        lower = context.statistics[_LOWER][group]
        return [
            (
                group,
                str(task),
                context.tensor,
                equals,
                torch.nonzero(delta.abs() == threshold)[:, 0].cpu() + context.offset,
            )
            for task, (delta, threshold, equals) in enumerate(
                zip(deltas, lower["thresholds"], lower["equals"], strict=True)
            )
            if equals is not None
        ]

    def combine(self, total: dict[str, Any], part: Any) -> dict[str, Any]:
        for group, task, tensor, equals, positions in part:
            seen = total["seen"].get((group, task), 0)
            if seen < equals <= seen + len(positions):
                cut = [tensor, int(positions[equals - seen - 1]) + 1]
                total["cuts"].setdefault(group, {})[task] = cut
            total["seen"][group, task] = seen + len(positions)
        return total

    def finish(self, total: dict[str, Any]) -> dict[str, Any]:
        return total["cuts"]
