"""Batches by a budget of tokens."""

from collections.abc import Iterator, Mapping


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
