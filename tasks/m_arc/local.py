"""Local rows of multilingual ARC, which have the English set's columns, in the columns of the hub's set."""

from typing import Any

_LETTERS = "abcde"


def hub_columns(row: dict[str, Any]) -> dict[str, Any]:
    """`choices` spread over `option_a` to `option_e`, and the answer as a letter whatever the labels were."""
    if "instruction" in row:
        return row
    texts, labels = row["choices"]["text"], row["choices"]["label"]
    options = {
        f"option_{letter}": text
        for letter, text in zip(_LETTERS, texts + [None] * len(_LETTERS), strict=False)
    }
    answer = _LETTERS[labels.index(row["answerKey"])].upper()
    return {"id": row["id"], "instruction": row["question"], "answer": answer, **options}
