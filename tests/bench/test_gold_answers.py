"""The path from real rows to a score is real: a model that gives the gold answers scores 1.0."""

import math

import pytest
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from bench.answers import run_lm_eval
from bench.data import load_rows, read_jsonl
from bench.score_settings import ScoreSettings
from bench.suite import load_benchmark
from tasks.gsm8k.answers import likelihood_per_byte
from tasks.ifeval.ifeval import process_results

CHOICES = ["yes", "no", "maybe"]
COMPLIES, REFUSES = "Sure, here is how you do that.", "I'm sorry, but I can't help with that."


class GoldLM(LM):
    """Generates `answer(document)`, and finds the choice `gold_choice(document)` likeliest."""

    def __init__(self, answer=None, gold_choice=None):
        super().__init__()
        self._answer = answer
        self._gold_choice = gold_choice

    def generate_until(self, requests: list[Instance]) -> list[str]:
        return [self._answer(request.doc) for request in requests]

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        return [
            (0.0 if request.idx == self._gold_choice(request.doc) else -100.0, False) for request in requests
        ]

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        raise AssertionError("no benchmark asks for rolling log-likelihoods")


def scores(name, lm, data, limit=None):
    benchmark = load_benchmark(name)
    rows = {task.name: load_rows(task, data) for task in benchmark.tasks}
    results = run_lm_eval(lm, benchmark, rows, ScoreSettings(limit=limit))["results"]
    return [values[f"{benchmark.metric},{benchmark.filter}"] for values in results.values()]


@pytest.mark.parametrize(
    ("name", "lm"),
    [
        ("gsm8k_cot", GoldLM(answer=lambda doc: " " + doc["answer"])),
        ("pubmedqa", GoldLM(gold_choice=lambda doc: CHOICES.index(doc["final_decision"]))),
        ("m_arc", GoldLM(gold_choice=lambda doc: doc["gold"])),
        ("coqa", GoldLM(answer=lambda doc: doc["answers"]["input_text"][-1])),
        ("xstest", GoldLM(answer=lambda doc: COMPLIES if doc["label"] == "safe" else REFUSES)),
    ],
)
def test_gold_answers_score_one(name, lm, data):
    assert set(scores(name, lm, data)) == {1.0}


@pytest.mark.parametrize(
    ("name", "lm"),
    [
        ("gsm8k_cot", GoldLM(answer=lambda doc: "The answer is -77.")),
        ("pubmedqa", GoldLM(gold_choice=lambda doc: (CHOICES.index(doc["final_decision"]) + 1) % 3)),
        ("m_arc", GoldLM(gold_choice=lambda doc: (doc["gold"] + 1) % 4)),
        ("coqa", GoldLM(answer=lambda doc: "zebra")),
        ("xstest", GoldLM(answer=lambda doc: REFUSES if doc["label"] == "safe" else COMPLIES)),
    ],
)
def test_wrong_answers_score_zero(name, lm, data):
    assert set(scores(name, lm, data, limit=50)) == {0.0}


def test_the_likelihood_of_an_answer_is_that_of_a_byte_on_average():
    row = {"question": "How many?", "answer": "two · 3 #### 6"}
    halves = [(15 * math.log(0.5), False)]
    assert likelihood_per_byte(row, halves)["likelihood_per_byte"] == pytest.approx(0.5)
    assert likelihood_per_byte(row, [(0.0, True)]) == {"likelihood_per_byte": 1.0}


def test_an_empty_answer_neither_complies_nor_refuses(data):
    assert scores("xstest", GoldLM(answer=lambda doc: ""), data) == [0.0]


def test_ifeval_gives_the_verdicts_of_its_authors_code(data):
    """Against the recorded verdicts on GPT-4's answers."""
    documents = {row["prompt"].strip(): row for row in read_jsonl(data / "ifeval/train.jsonl")}
    strict, loose = [], []
    for recorded in read_jsonl(data / "recorded/ifeval/gpt4_20231107.jsonl"):
        verdicts = process_results(documents[recorded["prompt"].strip()], [recorded["response"]])
        strict += zip(verdicts["inst_level_strict_acc"], recorded["strict"], strict=True)
        loose += zip(verdicts["inst_level_loose_acc"], recorded["loose"], strict=True)
    assert len(strict) == len(loose) == 832
    assert {verdict for verdict, _ in strict} == {True, False}
    assert sum(ours == theirs for ours, theirs in strict) / 832 >= 0.995
    assert sum(ours == theirs for ours, theirs in loose) / 832 >= 0.995


def test_ifeval_asks_every_prompt(data):
    assert scores("ifeval", GoldLM(answer=lambda doc: ""), data) == [0.0]


def test_pubmedqa_is_asked_on_the_500_official_questions(data):
    benchmark = load_benchmark("pubmedqa")
    lm = GoldLM(gold_choice=lambda doc: 0)
    rows = {task.name: load_rows(task, data) for task in benchmark.tasks}
    assert len(run_lm_eval(lm, benchmark, rows, ScoreSettings())["samples"]["pubmedqa"]) == 500
