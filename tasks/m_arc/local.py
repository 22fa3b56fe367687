"""Local rows of multilingual ARC, which have the English set's columns, in the columns of the hub's set."""

from typing import Any

from tasks.arc_challenge.labels import answer_among_choices
from tasks.errors import WrongColumnError

_LETTERS = "abcde"


def hub_columns(row: dict[str, Any]) -> dict[str, Any]:
    """`choices` spread over `option_a` to `option_e`, and the answer as a letter whatever the labels were.

    Raises:
        WrongColumnError: the answer is not among the choices.
    """
    if "instruction" not in row:
        answer_among_choices(row)
        texts, labels = row["choices"]["text"], row["choices"]["label"]
        options = {f"option_{letter}": text for letter, text in zip(_LETTERS, texts, strict=False)}
        answer = _LETTERS[labels.index(row["answerKey"])].upper()
        return {"id": row["id"], "instruction": row["question"], "answer": answer, **options}
    given = [letter for letter in _LETTERS if row.get(f"option_{letter}")]
    if row["answer"] not in [letter.upper() for letter in given]:
        raise WrongColumnError("answer", f"must name an option that is there, not {row['answer']!r}")
    if given != list(_LETTERS[: len(given)]):
        # lm-eval leaves empty options out and counts the rest, so that the answer would be another one.
        raise WrongColumnError("option_a", "and the ones after it must have no gap")
    return row
