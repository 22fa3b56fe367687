"""GSM8K's answers end with their number; how likely a whole answer is."""

import math
import re
from collections.abc import Mapping, Sequence
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


def likelihood_per_byte(row: Mapping[str, Any], results: Sequence[tuple[float, bool]]) -> dict[str, float]:
    """The geometric mean, in [0, 1], of the likelihood of each byte (UTF-8) of a row's worked answer.

    exp(log-likelihood / bytes), which models with different tokenizers share. It tells models apart that
    solve next to nothing.
    """
    ((loglikelihood, _),) = results
    return {"likelihood_per_byte": math.exp(loglikelihood / len(row["answer"].encode()))}
