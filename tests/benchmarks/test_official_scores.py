"""Scores of generated answers equal their authors' definitions, worked out by hand."""

import pytest
from datasets import Dataset
from rouge_score.rouge_scorer import RougeScorer

from tasks.coqa.coqa import process_results as coqa
from tasks.text_to_text.documents import common_gen, imdb, qasc, squad
from tasks.text_to_text.overlap import process_results as overlap


def conversation(*answers):
    """A question with the answers of several people to it."""
    others = {str(i): {"input_text": ["earlier", text]} for i, text in enumerate(answers[1:])}
    return {
        "story": "S",
        "questions": {"input_text": ["first?", "second?"]},
        "answers": {"input_text": ["earlier", answers[0]]},
        "additional_answers": others,
    }


@pytest.mark.parametrize(
    ("answers", "answer", "em", "f1"),
    [
        # One human answer: no one can be left out.
        (["white"], "white", 1, 1),
        (["white"], "a white cat", 0, 2 / 3),
        # Leaving out the only "no" of four, "no" is wrong; leaving out another, it is right: 3 of 4.
        (["yes", "yes", "no", "yes"], "no", 3 / 4, 3 / 4),
        (["yes", "yes", "no", "yes"], "yes", 1, 1),
        # Articles, case and punctuation do not count.
        (["The barn.", "in a barn"], "barn", 1 / 2, (2 / 3 + 1) / 2),
        # "white fur": F1 2/3 with "white", 1 with itself; left out in turn: 1, 2/3, 1.
        (["white", "white fur", "brown"], "white fur", 2 / 3, (1 + 2 / 3 + 1) / 3),
        (["unknown", "unknown"], "", 0, 0),
    ],
)
def test_coqa_leaves_one_human_answer_out(answers, answer, em, f1):
    scores = coqa(conversation(*answers), [answer])
    assert scores["em"] == pytest.approx(em)
    assert scores["f1"] == pytest.approx(f1)


def test_coqa_counts_the_first_line_and_gives_lm_evals_number_beside():
    scores = coqa(conversation("yes", "yes", "no", "yes"), [" no\nQ: why?"])
    assert scores["em"] == 3 / 4
    # lm-eval first drops equal answers: of "yes" and "no" one is left out.
    assert scores["em_lm_eval"] == 1 / 2


@pytest.mark.parametrize(
    ("references", "answer", "rouge1", "exact_match", "f1"),
    [
        (["positive"], "positive", 1, 1, 1),
        (["positive"], "negative", 0, 0, 0),
        # Three of four words, three of three: 2·(3/4)·1 / (3/4 + 1).
        (["the cat sat down"], "the cat sat", 6 / 7, 0, 4 / 5),
        (["a dog runs", "the cat sat"], "The cat sat.", 1, 1, 1),
        (["two words"], "", 0, 0, 0),
    ],
)
def test_text_to_text_metrics(references, answer, rouge1, exact_match, f1):
    scores = overlap({"references": references}, [answer])
    assert scores == pytest.approx({"rouge1": rouge1, "exact_match": exact_match, "f1": f1})


def test_rouge_is_rouge_scores():
    reference, answer = "A player stands in the field looking at the batter", "The player looks at a batter"
    theirs = RougeScorer(["rouge1"]).score(reference, answer)["rouge1"].fmeasure
    assert overlap({"references": [reference]}, [answer])["rouge1"] == theirs
    assert 0 < theirs < 1


def test_documents_get_their_references():
    choices = {"text": ["sand", "rain"], "label": ["A", "B"]}
    assert imdb(Dataset.from_list([{"label": 1}]))[0]["references"] == ["positive"]
    assert qasc(Dataset.from_list([{"choices": choices, "answerKey": "B"}]))[0]["references"] == ["rain"]
    assert squad(Dataset.from_list([{"answers": {"text": ["a", "b"]}}]))[0]["references"] == ["a", "b"]


def test_the_first_reviews_are_not_all_of_one_kind():
    sorted_by_label = Dataset.from_list([{"label": n // 100} for n in range(200)])
    assert len({row["references"][0] for row in imdb(sorted_by_label).select(range(20))}) == 2


def test_common_gen_has_one_document_for_a_set_of_words():
    rows = [
        {"concept_set_idx": 0, "concepts": ["dog", "run"], "target": "A dog runs."},
        {"concept_set_idx": 1, "concepts": ["sun"], "target": "The sun."},
        {"concept_set_idx": 0, "concepts": ["dog", "run"], "target": "Dogs run."},
    ]
    documents = common_gen(Dataset.from_list(rows))
    assert [row["references"] for row in documents] == [["A dog runs.", "Dogs run."], ["The sun."]]
