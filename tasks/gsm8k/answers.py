"""GSM8K's answers end with their number."""

import re
from typing import Any

from tasks.errors import WrongColumnError

_FINAL = re.compile(r"####\s*-?[$0-9.,]*[0-9]")


def with_final_number(row: dict[str, Any]) -> dict[str, Any]:
    """The row as it is.

    Raises:
        WrongColumnError: its answer does not give the number behind "####".
    """
    if not _FINAL.search(row["answer"]):
        raise WrongColumnError("answer", "must end with '#### ' and a number")
    return row
