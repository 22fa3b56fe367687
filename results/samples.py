"""Documents on which two checkpoints differ, such as a merged one and an expert, and what they said."""

import re
from dataclasses import dataclass, replace

import pandas as pd

from results.store import DOCUMENT_KEY

MOST_SAMPLES = 5
LONGEST = 1500
"""Characters of a text that are shown."""

_CHOICE = r"\(\s*(-?(?:[\d.]+(?:e[+-]?\d+)?|inf))\s*,\s*(?:True|False)\s*\)"
_CHOICES = re.compile(rf"\[\s*{_CHOICE}(?:\s*,\s*{_CHOICE})*\s*\]")


@dataclass(frozen=True)
class DifferingDocument:
    """A document on which two checkpoints differ. A text is None where the records do not have it.

    Attributes:
        lm_eval_task: where the document is from.
        doc_id: its number there.
        prompt: as it was sent.
        target: what was expected.
        outputs: what the two said.
        scores: what they scored.
    """

    lm_eval_task: str
    doc_id: int
    prompt: str | None
    target: str | None
    outputs: tuple[str | None, str | None]
    scores: tuple[float, float]


def side_by_side(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """The documents that two records share, with the columns of each under `_first` and `_second`."""
    columns = [*DOCUMENT_KEY, "score", "prompt", "target", "output"]
    tables = [table.reindex(columns=columns) for table in (first, second)]
    return tables[0].merge(tables[1], on=list(DOCUMENT_KEY), suffixes=("_first", "_second"))


def differing_documents(both: pd.DataFrame) -> tuple[DifferingDocument, ...]:
    """Rows of `side_by_side` as they stand."""
    return tuple(
        DifferingDocument(
            lm_eval_task=str(row["lm_eval_task"]),
            doc_id=int(row["doc_id"]),
            prompt=_text(row["prompt_first"]),
            target=_text(row["target_first"]),
            outputs=(_text(row["output_first"]), _text(row["output_second"])),
            scores=(float(row["score_first"]), float(row["score_second"])),
        )
        for row in both.to_dict("records")
    )


def differing_samples(merged: pd.DataFrame, expert: pd.DataFrame) -> list[DifferingDocument]:
    """Choose the documents on which a merged checkpoint and the expert differ most.

    Further apart in score comes first, then what differs in its output only, then the order of documents.
    Texts are shortened; of a long prompt the end is kept, where the question is.

    Args:
        merged: documents of the merged checkpoint's record.
        expert: documents of the expert's, on the same benchmark.
    """
    both = side_by_side(merged, expert)
    both["apart"] = -(both["score_first"] - both["score_second"]).abs()
    both["alike"] = both["output_first"].fillna("") == both["output_second"].fillna("")
    chosen = both.sort_values(["apart", "alike", *DOCUMENT_KEY]).head(MOST_SAMPLES)
    return [
        replace(
            document,
            prompt=shortened(document.prompt, keep_end=True),
            target=shortened(document.target),
            outputs=(_shown(document.outputs[0]), _shown(document.outputs[1])),
        )
        for document in differing_documents(chosen)
    ]


def shortened(text: str | None, longest: int = LONGEST, *, keep_end: bool = False) -> str | None:
    """Cut a text that is too long, and say how much of it is left out."""
    if text is None or len(text) <= longest:
        return text
    left_out = f"{len(text) - longest:,} more characters"
    return f"[{left_out}] …{text[-longest:]}" if keep_end else f"{text[:longest]}… [{left_out}]"


def _text(value: object) -> str | None:
    return None if value is None or value is pd.NA or value != value else str(value)  # noqa: PLR0124 - NaN


def _shown(output: str | None) -> str | None:
    """An output, shortened; where it is log-likelihoods of choices, they by number."""
    if output is None or not _CHOICES.fullmatch(output):
        return shortened(output)
    numbers = [float(number) for number in re.findall(_CHOICE, output)]
    lines = (f"choice {place}: {number:.2f}" for place, number in enumerate(numbers, start=1))
    return shortened("\n".join(lines))
