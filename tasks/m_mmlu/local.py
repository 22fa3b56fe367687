"""Local rows of multilingual MMLU in the columns of the hub's set."""

from typing import Any


def hub_columns(row: dict[str, Any]) -> dict[str, Any]:
    """The question and its name as the hub has them; rows that have a question so already are kept."""
    if "instruction" in row:
        return row
    return {**row, "id": row["sample_id"], "instruction": row["question"]}
