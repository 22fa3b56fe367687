"""Items: documents that are the same question in several languages, and so are drawn and swapped together.

A model that knows an answer in German tends to know it in French, so translations of one question are no
independent documents: drawn each on its own, they would make intervals too narrow, by half where the
languages agree. Every document names its item in a column of its own; most are an item by themselves.
"""

from collections.abc import Hashable, Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

ITEM = "item"
"""Column of a record's documents that names the item, the same in all languages."""

Names = NDArray[np.object_]
Node = TypeVar("Node", bound=Hashable)


def own_items(benchmark: str, lm_eval_task: str, documents: int) -> Names:
    """Names of items where each document is one of its own."""
    return np.array([f"{benchmark}/{lm_eval_task}/{index}" for index in range(documents)], dtype=object)


def connected(items: Mapping[Node, Names]) -> list[list[Node]]:
    """Group what shares items, directly or through others; groups and members in the order that is given."""
    group_of: dict[Node, int] = {}
    seen: dict[object, int] = {}
    merged: dict[int, int] = {}

    def root(group: int) -> int:
        while group in merged:
            group = merged[group]
        return group

    for number, (node, names) in enumerate(items.items()):
        group_of[node] = number
        for name in dict.fromkeys(names.tolist()):
            other = root(seen.setdefault(name, number))
            if other != root(number):
                merged[max(other, root(number))] = min(other, root(number))
    groups: dict[int, list[Node]] = {}
    for node, group in group_of.items():
        groups.setdefault(root(group), []).append(node)
    return list(groups.values())


def numbered(items: Mapping[Node, Names]) -> tuple[dict[Node, NDArray[np.int64]], int]:
    """The items by number, from 0 in the order in which they are met, and how many there are."""
    import pandas as pd

    numbers, known = pd.factorize(np.concatenate(list(items.values())))
    ends = np.cumsum([len(names) for names in items.values()])[:-1]
    return dict(zip(items, np.split(numbers, ends), strict=True)), len(known)
