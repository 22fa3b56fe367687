"""Requests computed together: choices after one context, prompts with one prefix, batches of tokens."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from bench.engine import TokenIds

_GROUP_COST = 64  # tokens whose computation takes about as long as what a group of its own costs


@dataclass(frozen=True)
class Document:
    """A context and what is scored after it.

    Attributes:
        context: token ids, not empty.
        continuations: token ids of each continuation, none empty.
        indices: of each continuation among all that are scored.
    """

    context: TokenIds
    continuations: tuple[TokenIds, ...]
    indices: tuple[int, ...]

    @property
    def branches(self) -> bool:
        """Whether one sequence does not hold it: two continuations have tokens that are read."""
        return sum(len(continuation) > 1 for continuation in self.continuations) > 1

    def __len__(self) -> int:
        """Tokens that are read. The last one of a continuation predicts nothing."""
        return len(self.context) + sum(len(continuation) - 1 for continuation in self.continuations)


def documents(
    pairs: Iterable[tuple[TokenIds, TokenIds]], max_length: int, most_tokens: int | None = None
) -> list[Document]:
    """Join the pairs that have the same context.

    Args:
        pairs: contexts and continuations; a pair of more than `max_length` + 1 tokens loses some of its left.
        max_length: tokens that are read at most.
        most_tokens: where a document would come to more with its next continuation, another one begins.
    """
    by_context: dict[tuple[int, ...], list[list[tuple[int, TokenIds]]]] = {}
    lengths: dict[tuple[int, ...], int] = {}
    for index, (context, continuation) in enumerate(pairs):
        kept = tuple(context[-(max_length + 1 - len(continuation)) :])
        lengths[kept] = lengths.get(kept, len(kept)) + len(continuation) - 1
        parts = by_context.setdefault(kept, [[]])
        if parts[-1] and most_tokens is not None and lengths[kept] > most_tokens:
            parts.append([])
            lengths[kept] = len(kept) + len(continuation) - 1
        parts[-1].append((index, continuation))
    return [
        Document(context, tuple(c for _, c in members), tuple(i for i, _ in members))
        for context, parts in by_context.items()
        for members in parts
    ]


@dataclass(frozen=True)
class PrefixGroup:
    """Sequences, by index, and the number of leading tokens that they share. Each has at least one more."""

    length: int
    members: tuple[int, ...]


def prefix_groups(sequences: Sequence[TokenIds]) -> list[PrefixGroup]:
    """Group sequences so that computing each group's shared prefix once saves the most tokens.

    In sorted order the sequences with a common prefix are neighbours. Such an interval becomes a group where
    that saves more than its parts do; what shares too little with any other goes into one group of length 0.
    """
    arrays = [np.asarray(sequence, dtype=np.int32) for sequence in sequences]
    order = sorted(range(len(arrays)), key=lambda i: arrays[i].tobytes())
    intervals = _best_intervals([_common(arrays[a], arrays[b]) for a, b in pairwise(order)])
    groups = [PrefixGroup(length, tuple(order[first : last + 1])) for length, first, last in intervals]
    grouped = {member for group in groups for member in group.members}
    rest = tuple(i for i in range(len(arrays)) if i not in grouped)
    return [*groups, PrefixGroup(0, rest)] if rest else groups


def _common(a: np.ndarray, b: np.ndarray) -> int:
    """Shared leading tokens of two sequences, such that each has one more."""
    length = min(len(a), len(b)) - 1
    different = np.flatnonzero(a[:length] != b[:length])
    return int(different[0]) if len(different) else length


@dataclass
class _Interval:
    """Neighbours from `first` on that share `length` tokens, their best groups, and what those save."""

    length: int
    first: int
    saved: int
    groups: list[tuple[int, int, int]]


def _best_intervals(common: Sequence[int]) -> list[tuple[int, int, int]]:
    """Disjoint groups (shared length, first, last) of len(common) + 1 neighbours that save the most.

    The intervals of neighbours that share at least so many tokens are nested; a stack holds those still open.
    """
    still_open = [_Interval(0, 0, 0, [])]
    for last, length in enumerate([*common, 0]):
        inner = _Interval(length, last, 0, [])
        while still_open[-1].length > length:
            closed = still_open.pop()
            closed.saved += inner.saved
            closed.groups += inner.groups
            whole = closed.length * (last - closed.first) - _GROUP_COST
            if whole > closed.saved:
                closed.saved, closed.groups = whole, [(closed.length, closed.first, last)]
            inner = _Interval(length, closed.first, closed.saved, closed.groups)
        if still_open[-1].length < length:
            still_open.append(inner)
        else:
            still_open[-1].saved += inner.saved
            still_open[-1].groups += inner.groups
    return still_open[0].groups


def batches(lengths: Mapping[int, int], budget: int) -> Iterator[list[int]]:
    """Groups of keys, longest first, each at most `budget` tokens with its padding (and at least one key)."""
    batch: list[int] = []
    for key in sorted(lengths, key=lambda key: (-lengths[key], key)):
        if batch and lengths[batch[0]] * (len(batch) + 1) > budget:
            yield batch
            batch = []
        batch.append(key)
    if batch:
        yield batch
