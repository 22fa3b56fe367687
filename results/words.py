"""Words around numbers in sentences."""

from collections.abc import Collection


def counted(number: int, what: str) -> str:
    """A number of things, as in `2 files`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def ranges(numbers: Collection[int]) -> str:
    """Whole numbers in order, those next to each other as first–last."""
    ordered = sorted(numbers)
    firsts = [number for number in ordered if number - 1 not in numbers]
    lasts = [number for number in ordered if number + 1 not in numbers]
    return ", ".join(
        f"{first}" if first == last else f"{first}–{last}" for first, last in zip(firsts, lasts, strict=True)
    )
