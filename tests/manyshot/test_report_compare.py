"""What a user of `manyshot report compare` sees."""

import json

import pytest
from made_up_family import Family, hits, record, rows

from manyshot.cli import main
from results.run_manifest import save_run
from results.store import Store


@pytest.fixture
def ask(tmp_path, monkeypatch, capfd):
    """Runs the command on a store with a run, and returns the exit code, stdout and stderr."""
    family = Family(Store(tmp_path / "store"), [])
    everything = {name: hits(16) for name in ("gsm8k", "m_mmlu", "m_arc", "coqa")} | {"xstest": hits(4)}
    family.add("base", "base", everything)
    for task in ("math", "multilingual", "safety"):
        family.add(f"{task} expert", "expert", everything, task=task)
    family.add("ties", "merged", everything | {"gsm8k": hits(6)}, method="ties")
    family.add("metis", "merged", everything, method="metis")
    save_run(family.store, family.run())
    apart = rows(hits(6), "gsm8k").assign(output="It is 17.")
    family.store.write(record("apart", "gsm8k", apart), apart)
    monkeypatch.setenv("MANYSHOT_STORE", str(tmp_path / "store"))

    def run(*arguments):
        code = 0
        try:
            main(["report", "compare", *arguments])
        except SystemExit as stopped:
            code = stopped.code
        return code, *capfd.readouterr()

    return run


def test_two_rows_of_the_latest_run(ask):
    code, out, err = ask("metis", "ties")
    assert (code, err) == (0, "")
    assert "A  metis (" in out and "worst task NP" in out
    assert "gsm8k: A is better on 10 documents, B on 0" in out
    assert out.count("is better: ") == 1
    assert ask("metis", "ties", "--documents", "4")[1].count("is better: ") == 4
    assert "is better: " not in ask("metis", "ties", "--documents", "0")[1]


def test_json_and_other_formats(ask):
    content = json.loads(ask("metis", "ties", "--json", "--documents", "10")[1])
    first = content["benchmarks"][0]
    assert (first["benchmark"], first["wins"], len(first["documents"][0])) == ("gsm8k", [10, 0], 10)
    assert content["aggregates"]["average"]["value"] > 0
    assert ask("metis", "ties", "--format", "csv")[1].startswith("benchmark,metric,n,items,a,b,difference,")
    assert "| benchmark | metric |" in ask("metis", "ties", "--format", "markdown")[1]


def test_a_row_and_a_checkpoint_that_was_scored_apart(ask):
    code, out, _ = ask("metis", "models/apart")
    assert code == 0
    assert "B      It is 17." in out
    assert "scored for 'metis' alone: m_mmlu, m_arc, coqa, xstest" in out
    assert "NP" not in out.split("A − B is above")[0]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["metis", "tees"], "no checkpoint 'tees' among 13; the nearest are 'ties', 'metis', "),
        (["metis", "ties", "--run", "second"], "no run 'second'"),
        (["metis", "ties", "--documents", "-1"], "--documents must be 0 or more, not -1"),
        (["metis", "ties", "--format", "csv", "--documents", "2"], "CSV has a row for each benchmark"),
        (["metis", "ties", "--store", "nowhere"], "nowhere: no checkpoint 'metis'; the store has no records"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(ask, arguments, says):
    code, out, err = ask(*arguments)
    assert (code, out) == (2, "")
    (sentence,) = err.splitlines()
    assert says in sentence
