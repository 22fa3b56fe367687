"""Recorded solutions of GSM8K, right or wrong by their last number."""

import re
from collections.abc import Mapping
from typing import Any

from tasks.errors import WrongColumnError

_NUMBER = re.compile(r"-?[$0-9.,]*[0-9]")


def document(row: dict[str, Any]) -> dict[str, Any]:
    """A document with the set's columns, from a recorded row's question and worked-out `ground_truth`.

    Raises:
        WrongColumnError: there is no number in the ground truth.
    """
    numbers = _NUMBER.findall(row["ground_truth"])
    if not numbers:
        raise WrongColumnError("ground_truth", "holds no number")
    return {"question": row["question"], "answer": f"{row['ground_truth']}\n#### {numbers[-1]}"}


def verdict(metrics: Mapping[str, Any]) -> str:
    """Right or wrong, by the last number of the solution."""
    return "correct" if metrics["exact_match,flexible-extract"] == 1 else "incorrect"
