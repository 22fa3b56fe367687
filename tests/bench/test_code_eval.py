"""Coding benchmarks of lm-eval run what a model writes in a sandbox, and say so."""

import json
import sys

import evaluate
import pytest
import yaml
from command_line import manyshot
from lm_eval.api.model import LM
from need_bwrap import need_bwrap
from tiny import tiny_llama

from bench.answers import run_lm_eval
from bench.benchmark import Benchmark
from bench.code_eval import SandboxedCodeEval
from bench.data import Rows
from bench.lm_eval_tasks.benchmarks import LmEvalTasks
from bench.model_code import refuse_model_code
from bench.sandbox import run_program
from bench.score_settings import ScoreSettings
from results.errors import InputError
from results.store import Store

SETTINGS = ScoreSettings(run_code="sandbox")


@pytest.fixture(scope="module", autouse=True)
def _bwrap():
    need_bwrap()


def problem(name, body, test):
    """A row of HumanEval's."""
    prompt = f"def {name}(a, b):\n"
    check = f"def check(candidate):\n    assert {test}\n"
    return {"task_id": name, "prompt": prompt, "canonical_solution": body, "test": check, "entry_point": name}


HUMANEVAL = [
    problem("add", "    return a + b\n", "candidate(2, 3) == 5"),
    problem("mul", "    return a * b\n", "candidate(2, 3) == 6"),
    problem("sub", "    return a - b\n", "candidate(2, 3) == -1"),
]
MBPP = [
    {
        "task_id": number,
        "text": f"Write a function to {name}.",
        "prompt": f"Write a function to {name}.",
        "code": f"def {name}(a, b):\n    return a {sign} b",
        "test_list": [
            f"assert {name}(2, 3) == {value}",
            f"assert {name}(0, 0) == 0",
            f"assert {name}(1, 0) < 2",
        ],
        "test_setup_code": "",
        "challenge_test_list": [],
    }
    for number, (name, sign, value) in enumerate(
        [("add", "+", 5), ("mul", "*", 6), ("sub", "-", -1)], start=1
    )
]
ANSWERS = {"add": "    return a + b\n", "mul": "    return a + b + 0\n", "sub": "    return a - b\n"}


class Answering(LM):
    """A model whose answers are written by hand."""

    def __init__(self, answer):
        super().__init__()
        self._answer = answer

    def generate_until(self, requests):
        return [self._answer(request.args[0], request.doc) for request in requests]

    def loglikelihood(self, requests):
        raise AssertionError("no coding benchmark asks for log-likelihoods")

    loglikelihood_rolling = loglikelihood


def humaneval_answer(prompt, doc):
    assert prompt == doc["prompt"]
    return ANSWERS[doc["task_id"]]


def mbpp_answer(prompt, doc):
    name = doc["code"].split("(")[0].removeprefix("def ")
    return f"\ndef {name}(a, b):\n{ANSWERS[name]}"


def fenced_answer(prompt, doc):
    return f"{mbpp_answer(prompt, doc)}```\nThat is it."


@pytest.mark.parametrize(
    ("name", "rows", "answer", "metric"),
    [
        ("humaneval", HUMANEVAL, humaneval_answer, "pass@1,create_test"),
        ("humaneval_plus", HUMANEVAL, humaneval_answer, "pass@1,create_test"),
        ("mbpp", MBPP, mbpp_answer, "pass_at_1,none"),
        ("mbpp_plus", MBPP, mbpp_answer, "pass_at_1,none"),
        ("mbpp_instruct", MBPP, fenced_answer, "pass_at_1,extract_code"),
        ("mbpp_plus_instruct", MBPP, fenced_answer, "pass_at_1,extract_code"),
    ],
)
def test_lm_evals_tasks_count_answers_that_pass(name, rows, answer, metric, monkeypatch):
    monkeypatch.delenv("HF_ALLOW_CODE_EVAL", raising=False)
    [benchmark] = LmEvalTasks().benchmarks([name])
    assert benchmark.runs_model_code
    load = evaluate.load
    given = {benchmark.tasks[0].name: Rows({"test": rows}, "made up", origin="files")}
    results = run_lm_eval(Answering(answer), benchmark, given, SETTINGS)["results"][name]
    assert results[metric] == pytest.approx(2 / 3)
    assert evaluate.load is load
    assert not {one for one in sys.modules if one.startswith("lm_eval.tasks.") and one.endswith(
        ("humaneval.utils", "mbpp.utils")
    )}  # fmt: skip


FORGES = """
import os, sys
frame = sys._getframe()
while frame is not None:
    told = frame.f_locals
    if "secret" in told:
        os.write(told["told"], f"passed {told['secret']}".encode())
        os._exit(0)
    frame = frame.f_back
"""


def test_an_answer_that_says_that_it_has_passed_has_not():
    assert run_program(f"{FORGES}\nassert False").passed  # nothing in its process is hidden from a program
    shares, ends = SandboxedCodeEval().compute(references=["assert x == 1"], predictions=[[FORGES]], k=[1])
    assert shares == {"pass@1": 0}
    assert ends[0][0][1]["result"] == "failed: says that it has passed whatever its tests are"


def test_the_share_of_problems_that_k_answers_solve():
    right, wrong = "x = 1", "x = 2"
    predictions = [[right, wrong, wrong], [right, right, wrong]]
    shares, ends = SandboxedCodeEval().compute(
        references=["assert x == 1"] * 2, predictions=predictions, k=[1, 2, 3, 4]
    )
    # 1 − C(n−c, k) / C(n, k) with n = 3 and c = 1, 2.
    assert shares == pytest.approx({"pass@1": (1 / 3 + 2 / 3) / 2, "pass@2": (2 / 3 + 1) / 2, "pass@3": 1.0})
    assert [[end["result"] for _, end in of_one] for of_one in ends.values()] == [
        ["passed", "failed: AssertionError", "failed: AssertionError"],
        ["passed", "passed", "failed: AssertionError"],
    ]


def test_what_runs_code_by_other_means_is_refused(monkeypatch):
    refuse_model_code(
        LmEvalTasks().benchmarks(["humaneval", "humaneval_plus", "mbpp", "mbpp_plus"]), SETTINGS
    )
    others = LmEvalTasks().benchmarks(["longproc_pseudo_to_code_2k"])
    with pytest.raises(
        InputError, match="longproc_pseudo_to_code_2k runs code that the model writes by means of its own"
    ):
        refuse_model_code(others, SETTINGS)
    assert isinstance(others[0], Benchmark)


def test_a_record_says_that_a_sandbox_was_used(tmp_path):
    model = tiny_llama(tmp_path / "model")
    rows = tmp_path / "data/lm_eval/humaneval/test.jsonl"
    rows.parent.mkdir(parents=True)
    rows.write_text("".join(json.dumps(row) + "\n" for row in HUMANEVAL))
    told = ("score", "--task", "humaneval", model, "--data", "data", "--store", "store", "--max-length", 64)
    refused = manyshot(*told, cwd=tmp_path)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "run it in a sandbox with --run-code sandbox" in refused.stderr
    done = manyshot(*told, "--run-code", "sandbox", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    [record] = Store(tmp_path / "store").records()
    assert record.key.settings["run_code"] == "sandbox-1"
    assert any("what the model wrote ran in a sandbox without network" in one for one in record.notices)
    assert (record.n, record.value) == (3, 0.0)
    again = manyshot(*told, "--run-code", "sandbox", cwd=tmp_path)
    assert "0 records made, 1 found" in again.stderr
    suite = {"name": "coding", "tasks": {"coding": {"benchmarks": [{"lm_eval": "humaneval"}]}}}
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(suite))
    content = {"suite": "suite.yaml", "base": "model", "experts": {"coding": "model"}, "limit": 2}
    content |= {"methods": [{"name": "average"}], "engine": {"name": "hf", "max_length": 64}}
    told = ("run", "experiment.yaml", "--data", "data", "--store", "store", "--out", "out")
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(content))
    refused = manyshot(*told, cwd=tmp_path)
    assert refused.returncode == 2
    assert "run it in a sandbox with --run-code sandbox (run_code in an experiment)" in refused.stderr
    assert not any((tmp_path / "out").glob("*/*.safetensors"))
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump({**content, "run_code": "sandbox"}))
    manyshot(*told, cwd=tmp_path)
    made = [one for one in Store(tmp_path / "store").records() if one.key.settings["limit"] == 2]
    assert {one.key.settings["run_code"] for one in made} == {"sandbox-1"}
