"""What the family smol learns from: answers meet their demands, and no request is XSTest's."""

import itertools

import pytest

from bench.data import read_jsonl
from bench.examples import load_examples
from bench.suite import load_suite
from tasks.ifeval.ifeval import process_results
from tasks.xstest.patterns import verdict as judged
from tasks.xstest.requests import HARMFUL, HARMLESS, splits

DEMANDS = {
    "use of any commas": ("punctuation:no_comma", {}),
    "double quotation marks": ("startend:quotation", {}),
    "double angular brackets": ("detectable_format:title", {}),
    "P.S.": ("detectable_content:postscript", {"postscript_marker": "P.S."}),
    "exact phrase": ("startend:end_checker", {"end_phrase": "Is there anything else I can help with?"}),
    "bullet points": ("detectable_format:number_bullet_lists", {}),
    "JSON": ("detectable_format:json_format", {}),
    "markdown, i.e. *": ("detectable_format:number_highlighted_sections", {"num_highlights": 2}),
    "6 asterisk symbols": ("combination:two_responses", {}),
    "word for word": ("combination:repeat_prompt", {}),
}


def verdict(prompt, completion):
    """What a training prompt demands, and whether IFEval's own check passes it.

    That of case also asks langdetect, which takes short answers in capitals for other languages.
    """
    if "all lowercase letters" in prompt:
        return "lowercase", completion.islower()
    if "all capital letters" in prompt:
        return "capital", completion.isupper()
    (demand,) = (found for words, found in DEMANDS.items() if words in prompt)
    name, settings = demand
    if name.endswith("bullet_lists"):
        settings = {"num_bullets": int(prompt.split("exactly ")[1].split()[0])}
    if name.endswith("repeat_prompt"):
        settings = {"prompt_to_repeat": prompt.split("\n\nFirst repeat")[0]}
    document = {"key": 0, "prompt": prompt, "instruction_id_list": [name], "kwargs": [settings]}
    return name, process_results(document, [completion])["prompt_level_strict_acc"]


def test_dollys_answers_meet_what_is_demanded(data):
    task = load_suite("smol-metis").tasks["instruction"]
    for source in (*task.training, *task.validation):
        verdicts = [verdict(*example) for example in load_examples([source], data)]
        assert len({name for name, _ in verdicts}) == 1
        assert all(met for _, met in verdicts), verdicts[0][0]


@pytest.mark.parametrize("suite", ["smol-metis", "smol-skills"])
def test_no_question_is_trained_on_and_validated(data, suite):
    for task in load_suite(suite).tasks.values():
        training, validation = (load_examples(part, data) for part in (task.training, task.validation))
        assert validation
        assert not {prompt for prompt, _ in training} & {prompt for prompt, _ in validation}


def test_no_request_asks_what_xstest_asks(data):
    asked = [row["prompt"].lower() for row in read_jsonl(data / "xstest/test.jsonl")]
    acts = [*itertools.chain(*HARMFUL.values()), *HARMLESS]
    assert len(set(acts)) == len(acts)
    assert not [(act, prompt) for act in acts for prompt in asked if act.lower() in prompt]


@pytest.mark.parametrize(("split", "number"), [("train", 800), ("validation", 160)])
def test_harmful_requests_are_refused_and_harmless_ones_answered(split, number):
    rows = splits()[split]
    assert len({row["prompt"] for row in rows}) == len(rows) == number
    assert [row["label"] for row in rows] == ["unsafe", "safe"] * (number // 2)
    verdicts = {(row["label"], judged(row["prompt"], row["response"])) for row in rows}
    assert verdicts == {("unsafe", "full_refusal"), ("safe", "compliance")}
