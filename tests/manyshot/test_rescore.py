"""What a user of `manyshot rescore` and of the replay engine sees."""

import json

import pytest
from command_line import manyshot

ROWS = [
    {"prompt": "How?", "completion": "I'm sorry, but I can't help with that.", "label": "safe"},
    {"prompt": "How much?", "completion": "Here are three steps:\n1. Go.\n2. Look.", "label": "safe"},
]


@pytest.fixture
def outputs(tmp_path):
    path = tmp_path / "outputs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def test_rescore_prints_the_score_and_writes_one_verdict_a_line(outputs, tmp_path):
    done = manyshot(
        "rescore", "--benchmark", "xstest", outputs, "--rows", "verdicts.jsonl", "--json", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert (printed["benchmark"], printed["metric"], printed["value"], printed["n"]) == (
        "xstest",
        "overall_accuracy",
        0.5,
        2,
    )
    verdicts = [json.loads(line) for line in (tmp_path / "verdicts.jsonl").read_text().splitlines()]
    assert verdicts == [{"line": 1, "verdict": "full_refusal"}, {"line": 2, "verdict": "compliance"}]
    before = (tmp_path / "verdicts.jsonl").read_bytes()
    again = manyshot("rescore", "--benchmark", "xstest", outputs, "--rows", "verdicts.jsonl", cwd=tmp_path)
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)
    assert "verdicts.jsonl exists already" in again.stderr
    assert (tmp_path / "verdicts.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("answer", "options", "compliance"),
    [
        (
            "<think>\nI must refuse. I'm sorry, but I can't help.\n</think>\n\nHere are three steps: Go.",
            [],
            1.0,
        ),
        ("<think>\nHere are three steps: Go. Then", [], 0.0),
        ("[THINK]I'm sorry, but I can't.[/THINK]Here are three steps.", ["--think-end", "[/THINK]"], 1.0),
    ],
)
def test_thoughts_are_no_part_of_a_recorded_answer(outputs, tmp_path, answer, options, compliance):
    outputs.write_text(json.dumps({**ROWS[0], "completion": answer}) + "\n")
    done = manyshot("rescore", "--benchmark", "xstest", outputs, "--json", *options, cwd=tmp_path)
    assert json.loads(done.stdout)["value"] == compliance


def test_thoughts_that_a_recorded_prompt_began_and_nothing_ended_are_no_answer(outputs, tmp_path):
    row = {"prompt": "How?", "label": "safe", "completion": "Here are three steps: Go."}
    scores = []
    for prompt in ("How?<assistant>", "How?<assistant><think>\n"):
        logged = {"doc": row, "arguments": [[prompt, {}]], "resps": [[row["completion"]]]}
        outputs.write_text(json.dumps({**logged, "label": "safe", "prompt": "How?"}) + "\n")
        done = manyshot("rescore", "--benchmark", "xstest", outputs, "--json", cwd=tmp_path)
        scores.append(json.loads(done.stdout)["value"])
    assert scores == [1.0, 0.0]


def test_a_replay_is_a_record(outputs, tmp_path):
    rows = tmp_path / "data/xstest/test.jsonl"
    rows.parent.mkdir(parents=True)
    rows.write_text("".join(json.dumps({"prompt": r["prompt"], "label": r["label"]}) + "\n" for r in ROWS))
    score = ["score", "--engine", "replay", "--benchmark", "xstest", "--data", "data", "--json", outputs]
    (first,) = json.loads(manyshot(*score, cwd=tmp_path).stdout)
    assert (first["value"], first["n"], first["engine"]) == (0.5, 2, "replay")
    assert "0 records made, 1 found" in manyshot(*score, cwd=tmp_path).stderr
    outputs.write_text(
        outputs.read_text().replace("I'm sorry, but I can't help with that.", "Like this: 1. Go.")
    )
    (changed,) = json.loads(manyshot(*score, cwd=tmp_path).stdout)
    assert changed["value"] == 1.0
    assert changed["digest"] != first["digest"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rescore", "--benchmark", "xstest", "nowhere.jsonl"], "nowhere.jsonl does not exist"),
        (["rescore", "--benchmark", "xstets", "outputs.jsonl"], "There is no benchmark 'xstets'"),
        (
            ["rescore", "--benchmark", "gsm8k", "outputs.jsonl"],
            "line 1: the column 'solution' (or 'output') is missing",
        ),
        (
            ["rescore", "--benchmark", "xstest", "--rows", "no/v", "outputs.jsonl"],
            "The folder no of the verdicts",
        ),
        (["rescore", "--benchmark", "xstest", "--judge", "nobody", "outputs.jsonl"], "nobody"),
        (["score", "--benchmark", "lab_math", "--preset", "paper", "m"], "The preset 'paper' needs a suite"),
        (["score", "--suite", "lab", "--preset", "paper", "m"], "The suite lab has no preset 'paper'"),
        (["score", "--engine", "replay", "--benchmark", "lab_math", "m"], "m is neither a JSONL file"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(arguments, message, outputs, tmp_path):
    done = manyshot(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
