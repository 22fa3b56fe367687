"""Documents on which two checkpoints differ, such as a merged one and an expert, and what they said."""

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

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


def differing_samples(merged: pa.Table, expert: pa.Table) -> list[DifferingDocument]:
    """Choose the documents on which a merged checkpoint and the expert differ most.

    Further apart in score comes first, then what differs in its output only, then the order of documents.
    Texts are shortened; of a long prompt the end is kept, where the question is.

    Args:
        merged: documents of the merged checkpoint's record, with any of the columns of `side_by_side`.
        expert: documents of the expert's, on the same benchmark; of their texts `output` alone is looked at.
    """
    both = _pair_up(merged, expert)
    tables = [table.take(places) for table, places in zip((merged, expert), both, strict=True)]
    outputs = [_texts(table, "output") for table in tables]
    scores = [np.asarray(table["score"], dtype=np.float64) for table in tables]
    ordering = {
        "apart": pa.array(-np.abs(scores[0] - scores[1])),
        "alike": pc.equal(*(pc.fill_null(said, "") for said in outputs)),
        **{name: tables[0][name] for name in DOCUMENT_KEY},
    }
    order = pc.sort_indices(pa.table(ordering), [(name, "ascending") for name in ordering])
    chosen = order[:MOST_SAMPLES].to_pylist()
    prompts, targets = (_texts(tables[0].take(chosen), name).to_pylist() for name in ("prompt", "target"))
    return [
        DifferingDocument(
            lm_eval_task=str(tables[0]["lm_eval_task"][place].as_py()),
            doc_id=int(tables[0]["doc_id"][place].as_py()),
            prompt=shortened(prompt, keep_end=True),
            target=shortened(target),
            outputs=(_shown(outputs[0][place].as_py()), _shown(outputs[1][place].as_py())),
            scores=(float(scores[0][place]), float(scores[1][place])),
        )
        for place, prompt, target in zip(chosen, prompts, targets, strict=True)
    ]


def _pair_up(first: pa.Table, second: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The places in both tables of the documents that are in both."""
    keys = [table.select(list(DOCUMENT_KEY)) for table in (first, second)]
    if keys[0].equals(keys[1]):
        return np.arange(len(first)), np.arange(len(first))
    named = [list(zip(*(table[name].to_pylist() for name in DOCUMENT_KEY), strict=True)) for table in keys]
    places = {name: place for place, name in enumerate(named[1])}
    shared = [(place, places[name]) for place, name in enumerate(named[0]) if name in places]
    in_first, in_second = np.array(shared, dtype=np.int64).reshape(-1, 2).T
    return in_first, in_second


def _texts(table: pa.Table, name: str) -> pa.ChunkedArray:
    """A column as texts; nothing but nulls where it is not there."""
    if name not in table.column_names:
        return pa.chunked_array([pa.nulls(len(table), pa.string())])
    column = table[name]
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return column.cast(pa.string())
    return pa.chunked_array([pa.array(map(_text, column.to_pylist()), pa.string())])


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
