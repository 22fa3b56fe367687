"""`manyshot score --task`: lm-eval's tasks by name from the command line."""

import json

import pytest
from command_line import manyshot
from lm_eval_folder import write_folder
from tiny import tiny_llama


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    here = tmp_path_factory.mktemp("here")
    write_folder(here / "tasks")
    tiny_llama(here / "models/tiny")
    return here


OWN = ("score", "models/tiny", "--include-path", "tasks", "--engine", "hf", "--json")


def test_own_tasks_are_scored_and_written_in_lm_evals_files(here):
    arguments = (*OWN, "--task", "fruit,colour", "--task", "sized", "--limit", 0.5, "--num-fewshot", 1)
    done = manyshot(*arguments, "--output-path", "out", cwd=here)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [(row["benchmark"], row["metric"], row["n"]) for row in rows] == [
        ("fruit", "acc_norm", 7),
        ("colour", "acc_norm", 3),
        ("sized", "acc", 10),
    ]
    (results,) = (here / "out/models__tiny").glob("results_*.json")
    content = json.loads(results.read_text())
    assert content["results"]["fruit"]["acc_norm,none"] == rows[0]["value"]
    assert content["groups"]["sized"]["acc,none"] == rows[2]["value"]
    assert content["n-shot"]["fruit"] == 1
    assert len(list((here / "out/models__tiny").glob("samples_*.jsonl"))) == 2
    again = manyshot(*arguments, "--output-path", "again", cwd=here)  # from records that are found
    assert json.loads(again.stdout) == rows
    assert "0 records made, 3 found" in again.stderr
    (found,) = (here / "again/models__tiny").glob("results_*.json")
    assert json.loads(found.read_text())["results"] == content["results"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--task", "fruiit"), "There is no task 'fruiit' in lm-eval. The nearest name is fruit"),
        (("--task", " , "), "--task is ' , ', which names no task; give lm-eval's"),
        (("--task", "fruit", "--limit", "1.5"), "a share of them below 1 is expected, not 1.5."),
        (("--task", "fruit", "--limit", "0.0"), "'limit' is 0.0, where a number above 0 is expected"),
        (("--task", "fruit", "--num-fewshot", "-1"), "--num-fewshot is -1, where a whole number from 0 on"),
        (("--task", "fruit", "--benchmark", "gsm8k"), "not allowed with argument --task"),
        (("--benchmark", "lab_math"), "--include-path and --trust-task-code are for --task"),
        (("--task", "humaneval"), "humaneval: code that the model writes would run on this machine"),
        (("--task", "fruit", "--output-path", "tasks/fruit.yaml"), "tasks/fruit.yaml must be a folder"),
        (("--task", "fruit", "--output-path", "out.json"), "out.json must be a folder"),
        (("--task", "fruit", "--include-path", "nowhere"), "--include-path: nowhere is not a folder"),
        (("--task", "fruit", "--include-path", "models"), "models holds no task in lm-eval's format"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(here, arguments, sentence):
    done = manyshot(*OWN, *arguments, cwd=here)
    assert done.returncode == 2
    assert sentence in done.stderr.splitlines()[-1]


def test_answers_have_as_many_tokens_as_the_command_line_says(here):
    told = ("score", "models/tiny", "--engine", "hf", "--json", "--benchmark", "lab_math", "--limit", 2)
    done = manyshot(*told, "--max-new-tokens", 1, cwd=here)
    [row] = json.loads(done.stdout)
    assert row["answers"] == {"all": 2, "cut": 2, "empty": row["answers"]["empty"]}
    assert "2 of 2 answers were cut at the limit of tokens" in done.stderr
    assert "1 record made, 0 found" in manyshot(*told, cwd=here).stderr
