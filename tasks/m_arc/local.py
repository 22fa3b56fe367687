"""Local rows of multilingual ARC, which have the English set's columns, in the columns of the hub's set."""

from typing import Any

from tasks.arc_challenge.labels import answer_among_choices

_LETTERS = "abcde"


def hub_columns(row: dict[str, Any]) -> dict[str, Any]:
    """`choices` spread over `option_a` to `option_e`, and the answer as a letter whatever the labels were.

    Raises:
        WrongColumnError: the answer is not among the choices.
    """
    if "instruction" in row:
        return row
    answer_among_choices(row)
    texts, labels = row["choices"]["text"], row["choices"]["label"]
    options = {
        f"option_{letter}": text
        for letter, text in zip(_LETTERS, texts + [None] * len(_LETTERS), strict=False)
    }
    answer = _LETTERS[labels.index(row["answerKey"])].upper()
    return {"id": row["id"], "instruction": row["question"], "answer": answer, **options}
