"""Local rows of multilingual MMLU in the columns of the hub's set."""

from typing import Any


def hub_columns(row: dict[str, Any]) -> dict[str, Any]:
    """The question under the name that the hub gives it; rows that have it already are kept."""
    return row if "instruction" in row else {**row, "instruction": row["question"]}
