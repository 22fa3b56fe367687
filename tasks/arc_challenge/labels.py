"""ARC's answers must be among its choices."""

from typing import Any

from tasks.errors import WrongColumnError


def answer_among_choices(row: dict[str, Any]) -> dict[str, Any]:
    """The row as it is.

    Raises:
        WrongColumnError: its answer is no label of a choice, or labels and texts differ in number.
    """
    choices = row["choices"]
    if len(choices["text"]) != len(choices["label"]):
        raise WrongColumnError("choices", "must have as many labels as texts")
    if row["answerKey"] not in choices["label"]:
        raise WrongColumnError("answerKey", f"must be one of {', '.join(choices['label'])}")
    return row
