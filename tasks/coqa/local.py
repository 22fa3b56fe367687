"""Local rows of CoQA, which have the columns of the authors' set, in the columns that lm-eval reads."""

from typing import Any


def hub_columns(row: dict[str, Any]) -> dict[str, Any]:
    """Questions as a mapping with their texts; rows that have it already are kept."""
    questions = row["questions"]
    if isinstance(questions, list):
        questions = {"input_text": questions}
    return {**row, "questions": questions}
