"""CoQA's F1 and exact match (arXiv 1808.07042), and local rows in the columns that lm-eval reads.

With several human answers a prediction is compared with all but one of them, the best counts, and the mean
is taken over which one is left out, so that a model is measured as a human is. The authors' program leaves
one out of all answers, equal ones among them; lm-eval drops equal answers first. Both are computed; the
authors' is the primary one.
"""

from typing import Any

from tasks.errors import WrongColumnError


def hub_columns(row: dict[str, Any]) -> dict[str, Any]:
    """Questions as a mapping with their texts; rows that have it already are kept.

    Raises:
        WrongColumnError: the last question has no answer.
    """
    questions = row["questions"]
    if isinstance(questions, list):
        questions = {"input_text": questions}
    if len(row["answers"]["input_text"]) != len(questions["input_text"]):
        raise WrongColumnError("answers", f"must be as many as the {len(questions['input_text'])} questions")
    for person, answers in (row.get("additional_answers") or {}).items():
        if answers and len(answers["input_text"]) != len(questions["input_text"]):
            raise WrongColumnError(f"additional_answers.{person}", "must have as many answers as the others")
    return {**row, "questions": questions}


def human_answers(doc: dict[str, Any]) -> list[str]:
    """Everybody's answer to the last question, equal ones as often as they were given."""
    others = [one for one in (doc.get("additional_answers") or {}).values() if one]
    return [one["input_text"][-1] for one in (doc["answers"], *others)]


def process_results(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """F1 and exact match of the first line of an answer."""
    from lm_eval.tasks.coqa import utils

    answer = results[0].strip().split("\n")[0]
    official = utils.compute_scores(human_answers(doc), answer)
    different = utils.compute_scores(utils.doc_to_target(doc), answer)
    return {**official, **{f"{metric}_lm_eval": value for metric, value in different.items()}}
