"""What a merged checkpoint said to a few documents, beside what the task's expert said."""

import re
from dataclasses import dataclass

import pandas as pd

from results.store import DOCUMENT_KEY

MOST_SAMPLES = 5
LONGEST = 1500
"""Characters of a text that are shown."""

_CHOICE = r"\(\s*(-?(?:[\d.]+(?:e[+-]?\d+)?|inf))\s*,\s*(?:True|False)\s*\)"
_CHOICES = re.compile(rf"\[\s*{_CHOICE}(?:\s*,\s*{_CHOICE})*\s*\]")


@dataclass(frozen=True)
class Sample:
    """One document. A text is None where the record does not have it.

    Attributes:
        lm_eval_task: where the document is from.
        doc_id: its number there.
        prompt: as it was sent; of a long one the end, where the question is.
        target: what was expected.
        output: what the merged checkpoint said.
        expert_output: what the expert said.
        score: the merged checkpoint's.
        expert_score: the expert's.
    """

    lm_eval_task: str
    doc_id: int
    prompt: str | None
    target: str | None
    output: str | None
    expert_output: str | None
    score: float
    expert_score: float


def differing_samples(merged: pd.DataFrame, expert: pd.DataFrame) -> list[Sample]:
    """Choose the documents on which a merged checkpoint and the expert differ most.

    Further apart in score comes first, then what differs in its output only, then the order of documents.

    Args:
        merged: documents of the merged checkpoint's record.
        expert: documents of the expert's, on the same benchmark.
    """
    tables = [table.reindex(columns=[*DOCUMENT_KEY, *_SHOWN]) for table in (merged, expert)]
    both = tables[0].merge(tables[1], on=list(DOCUMENT_KEY), suffixes=("", "_expert"))
    both["apart"] = -(both["score"] - both["score_expert"]).abs()
    both["alike"] = both["output"].fillna("") == both["output_expert"].fillna("")
    chosen = both.sort_values(["apart", "alike", *DOCUMENT_KEY]).head(MOST_SAMPLES)
    return [
        Sample(
            lm_eval_task=str(row["lm_eval_task"]),
            doc_id=int(row["doc_id"]),
            prompt=shortened(_text(row["prompt"]), keep_end=True),
            target=shortened(_text(row["target"])),
            output=shortened(_output(row["output"])),
            expert_output=shortened(_output(row["output_expert"])),
            score=float(row["score"]),
            expert_score=float(row["score_expert"]),
        )
        for row in chosen.to_dict("records")
    ]


_SHOWN = ("score", "prompt", "target", "output")


def shortened(text: str | None, longest: int = LONGEST, *, keep_end: bool = False) -> str | None:
    """Cut a text that is too long, and say how much of it is left out."""
    if text is None or len(text) <= longest:
        return text
    left_out = f"{len(text) - longest:,} more characters"
    return f"[{left_out}] …{text[-longest:]}" if keep_end else f"{text[:longest]}… [{left_out}]"


def _text(value: object) -> str | None:
    return None if value is None or value is pd.NA or value != value else str(value)  # noqa: PLR0124 - NaN


def _output(value: object) -> str | None:
    """An output as text; where it is log-likelihoods of choices, they by number."""
    text = _text(value)
    if text is None or not _CHOICES.fullmatch(text):
        return text
    numbers = [float(number) for number in re.findall(_CHOICE, text)]
    return "\n".join(f"choice {place}: {number:.2f}" for place, number in enumerate(numbers, start=1))
