"""Drawing rows: distinct across splits, the same on every machine."""

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

Row = dict[str, Any]
ATTEMPTS_PER_ROW = 1000


def draw_splits(
    make: Callable[[Random], Row], prompt: Callable[[Row], str], sizes: Mapping[str, int], seed: str
) -> dict[str, list[Row]]:
    """Draw splits whose prompts are all different, within a split and between splits.

    Args:
        make: makes one row from a source of randomness.
        prompt: the text of a row that must not occur twice.
        sizes: number of rows of each split.
        seed: names the source of randomness; the same seed gives the same rows.

    Returns:
        The rows of each split, in the order of ``sizes``.

    Raises:
        ValueError: the space of prompts is too small for that many rows.
    """
    random = Random(seed)
    seen: set[str] = set()
    splits: dict[str, list[Row]] = {}
    for split, size in sizes.items():
        rows: list[Row] = []
        for _ in range(size * ATTEMPTS_PER_ROW):
            if len(rows) == size:
                break
            row = make(random)
            if prompt(row) not in seen:
                seen.add(prompt(row))
                rows.append(row)
        if len(rows) < size:
            raise ValueError(f"{seed}: only {len(rows)} of {size} different {split} prompts could be drawn")
        splits[split] = rows
    return splits
