"""What merging cost, as the reports beside merged checkpoints say."""

import json
from pathlib import Path
from typing import Any

from results.merge_trace import LearnedCoefficients


def memory_of(merged: Path) -> int | None:
    """Most bytes that a merge took beside mapped files; None where its report does not say."""
    memory: int | None = _report(merged).get("memory")
    return memory


def seconds_of(merged: Path, learned: LearnedCoefficients | None) -> dict[str, float]:
    """Seconds of learning coefficients and of merging, by phase.

    Args:
        merged: the checkpoint; of a merge that was stopped and gone on with the seconds are not known.
        learned: what was learned for it, where something was.
    """
    content = _report(merged)
    found = {} if content["resumed"] else {"merge": round(sum(content["seconds"].values()), 3)}
    return found if learned is None else {"learn": learned.seconds, **found}


def _report(merged: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((merged / "merge.json").read_text(encoding="utf-8"))
    return content
