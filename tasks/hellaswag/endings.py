"""HellaSwag's label must name one of the endings."""

from typing import Any

from tasks.errors import WrongColumnError


def label_among_endings(row: dict[str, Any]) -> dict[str, Any]:
    """The row as it is.

    Raises:
        WrongColumnError: its label is no number of an ending, from 0.
    """
    endings, label = row["endings"], str(row["label"]).strip()
    if not label.isdecimal() or int(label) >= len(endings):
        raise WrongColumnError("label", f"must be one of 0 to {len(endings) - 1}, not {row['label']!r}")
    return row
