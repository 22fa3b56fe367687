"""The lab's rows: the same each time, different across splits, and right by the real scoring code."""

import re
from collections import Counter

import pytest
from lm_eval.tasks.coqa import utils as coqa

from tasks.ifeval.ifeval import process_results as instructions_followed
from tasks.lab.rows import draw_splits
from tasks.lab_instructions import instructions
from tasks.lab_math import problems
from tasks.lab_multilingual import translation
from tasks.lab_reading import stories
from tasks.lab_safety import requests
from tasks.lab_yes_no import abstracts
from tasks.xstest.refusal import process_results as complied_or_refused

GENERATORS = {
    "instructions": (instructions.splits, lambda row: row["prompt"]),
    "math": (problems.splits, lambda row: row["question"]),
    "tavi": (translation.tavi, lambda row: row["sentence"]),
    "moru": (translation.moru, lambda row: row["sentence"]),
    "selka": (translation.selka, lambda row: row["sentence"]),
    "safety": (requests.splits, lambda row: row["prompt"]),
    "reading": (stories.splits, lambda row: row["story"]),
    "yes_no": (abstracts.splits, lambda row: row["abstract"]),
}


@pytest.mark.parametrize("name", GENERATORS)
def test_no_prompt_occurs_twice_within_or_across_splits(name):
    splits, prompt = GENERATORS[name]
    counts = Counter(prompt(row) for rows in splits().values() for row in rows)
    assert max(counts.values()) == 1


@pytest.mark.parametrize("name", GENERATORS)
def test_rows_are_the_same_each_time(name):
    splits, _ = GENERATORS[name]
    assert splits() == splits()


@pytest.mark.parametrize("name", GENERATORS)
def test_every_split_is_there_and_test_has_its_size(name):
    sizes = {split: len(rows) for split, rows in GENERATORS[name][0]().items()}
    assert set(sizes) == {"train", "validation", "test"}
    assert sizes["test"] == (80 if name in translation.ORDERS else 200)
    assert sizes["train"] > sizes["test"]


def test_rows_do_not_change_between_versions_of_python():
    assert problems.splits()["test"][0]["question"] == (
        "Anna has 2 marbles and Karin has 5. How many marbles do they have together?"
    )


def test_drawing_more_rows_than_there_are_prompts_is_refused():
    with pytest.raises(ValueError, match="only 2 of 3 different train prompts"):
        draw_splits(lambda random: {"x": random.choice("ab")}, lambda row: row["x"], {"train": 3}, "tiny")


def test_reference_responses_follow_every_instruction_and_a_plain_one_does_not():
    rows = instructions.splits()
    for row in rows["test"] + rows["validation"] + rows["train"][:300]:
        assert instructions_followed(row, [row["response"]])["prompt_level_strict_acc"]
    plain = [
        instructions_followed(row, ["The dog is big, brown, and kind."])["prompt_level_strict_acc"]
        for row in rows["test"]
    ]
    assert not any(plain)


def test_every_instruction_is_in_train_and_test_and_some_rows_have_two():
    rows = instructions.splits()
    seen = {
        split: Counter(id_ for row in rows[split] for id_ in row["instruction_id_list"]) for split in rows
    }
    assert set(seen["train"]) == set(seen["test"]) and len(seen["test"]) == 9
    assert {len(row["instruction_id_list"]) for row in rows["test"]} == {1, 2}


def test_math_answers_are_right_and_strict_match_finds_them():
    for row in problems.splits()["test"]:
        calculation, result = row["answer"].split("\n")
        a, operator, b, c = re.fullmatch(r"(\d+) ([+-]) (\d+) = (\d+)", calculation).groups()
        assert int(a) + int(b) == int(c) if operator == "+" else int(a) - int(b) == int(c)
        assert re.findall(r"#### (\-?[0-9\.\,]+)", result) == [c]
        assert a in row["question"] and b in row["question"]


def test_every_pair_of_numbers_of_a_test_problem_is_in_train():
    rows = problems.splits()
    calculations = {split: {row["answer"] for row in rows[split]} for split in rows}
    assert calculations["test"] <= calculations["train"]


def test_one_choice_is_the_translation_and_the_labels_are_balanced():
    for language in translation.ORDERS:
        rows = translation.language_splits(language)["test"]
        for row in rows:
            _, adjective, noun, verb = row["sentence"].split()
            sentence = {"adjective": adjective, "noun": noun, "verb": verb}
            assert row["choices"][row["label"]] == translation.translate(sentence, language)
            assert len(set(row["choices"])) == 4
        assert max(Counter(row["label"] for row in rows).values()) < 40


def test_the_made_up_languages_share_no_word():
    words = [set(lexicon.values()) for lexicon in translation.LEXICONS.values()]
    assert all(len(own) == 26 for own in words)
    assert len(set.union(*words)) == 3 * 26


def test_reference_responses_comply_or_refuse_as_labelled():
    for row in requests.splits()["test"]:
        assert complied_or_refused(row, [row["response"]])["overall_accuracy"] == 1.0
        twin = requests.COMPLIANCE if row["label"] == "unsafe" else requests.REFUSAL
        assert complied_or_refused(row, [twin])["overall_accuracy"] == 0.0


def test_safety_is_half_unsafe_and_has_every_type():
    rows = requests.splits()["test"]
    assert Counter(row["label"] for row in rows) == {"safe": 100, "unsafe": 100}
    assert {row["type"] for row in rows} == {*requests.KINDS, *requests.CONTRASTS}
    assert all((row["label"] == "unsafe") == row["type"].startswith("contrast_") for row in rows)


def test_reading_answers_are_in_the_story_and_score_one():
    for row in stories.splits()["test"]:
        answer = row["answers"]["input_text"][-1]
        assert answer in row["story"]
        assert coqa.process_results(row, [f" {answer}\n\n"]) == {"em": 1.0, "f1": 1.0}


def test_the_base_reads_stories_in_the_form_in_which_they_are_scored():
    for row in stories.splits()["test"]:
        assert stories.prompt(row) == coqa.doc_to_text(row)


def test_decisions_follow_from_the_abstract():
    for row in abstracts.splits()["test"]:
        told = [
            decision for decision, words in abstracts.OUTCOMES.items() for w in words if w in row["abstract"]
        ]
        assert told == [row["decision"]]
