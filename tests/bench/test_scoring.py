"""A score is a record: made once, found again, keyed by everything that decides it."""

import json

import pytest
from tiny import tiny_llama

import bench.scoring
from bench.engine import EngineSettings
from bench.registry import load_benchmark
from bench.scoring import Scorer, ScoreSettings
from results.errors import InputError
from results.record import CheckpointIdentity
from results.store import Store

IDENTITY = CheckpointIdentity("w", "c", "t")


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return tiny_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture
def rows(tmp_path):
    root = tmp_path / "data"
    rows = [
        {
            "pubid": pubid,
            "question": f"Question {pubid}?",
            "context": {"contexts": ["A B C."]},
            "final_decision": d,
        }
        for pubid, d in ((21645374, "yes"), (16418930, "no"), (9488747, "maybe"), (1, "yes"))
    ]
    path = root / "pubmedqa/test.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


def test_a_record_holds_the_score_of_every_document(llama, rows, tmp_path):
    store = Store(tmp_path / "store")
    scorer = Scorer(ScoreSettings(), store, rows)
    scored = scorer.score(llama, "tiny", IDENTITY, load_benchmark("pubmedqa"))
    documents = store.documents(scored.record)
    assert not scored.found
    assert scored.record.n == len(documents) == 3  # the fourth row is no official test question
    assert scored.record.value == documents["score"].mean()
    assert scored.record.metrics["pubmedqa/acc,none"] == scored.record.value
    assert scored.record.tokens["prompt"] > 0
    assert documents["prompt"][0] == "Abstract: A B C.\nQuestion: Question 21645374?\nAnswer:"


def test_a_second_run_finds_the_record_without_an_engine(llama, rows, tmp_path, monkeypatch):
    store = Store(tmp_path / "store")
    first = Scorer(ScoreSettings(), store, rows).score(llama, "tiny", IDENTITY, load_benchmark("pubmedqa"))
    monkeypatch.setattr(bench.scoring, "open_engine", None)
    second = Scorer(ScoreSettings(), store, rows).score(llama, "again", IDENTITY, load_benchmark("pubmedqa"))
    assert second.found
    assert second.record == first.record


@pytest.mark.parametrize(
    "settings",
    [
        ScoreSettings(limit=2),
        ScoreSettings(seed=7),
        ScoreSettings(EngineSettings(dtype="bfloat16")),
        ScoreSettings(EngineSettings(max_length=64)),
    ],
)
def test_other_settings_are_another_record(settings, llama, rows, tmp_path):
    store = Store(tmp_path / "store")
    benchmark = load_benchmark("pubmedqa")
    Scorer(ScoreSettings(), store, rows).score(llama, "tiny", IDENTITY, benchmark)
    assert Scorer(ScoreSettings(EngineSettings(dtype="float32")), store, rows).find(IDENTITY, benchmark)
    assert Scorer(settings, store, rows).find(IDENTITY, benchmark) is None
    assert Scorer(ScoreSettings(), store, rows).find(CheckpointIdentity("v", "c", "t"), benchmark) is None


def test_other_rows_are_another_record(llama, rows, tmp_path):
    store = Store(tmp_path / "store")
    benchmark = load_benchmark("pubmedqa")
    Scorer(ScoreSettings(), store, rows).score(llama, "tiny", IDENTITY, benchmark)
    path = rows / "pubmedqa/test.jsonl"
    path.write_text(path.read_text().replace("A B C", "A B D"))
    assert Scorer(ScoreSettings(), store, rows).find(IDENTITY, benchmark) is None


def test_a_limit_below_one_is_refused():
    with pytest.raises(InputError, match="at least 1 document, not 0"):
        ScoreSettings(limit=0)


def test_prompts_that_lose_tokens_are_counted_in_the_record(llama, rows, tmp_path):
    scorer = Scorer(ScoreSettings(EngineSettings(max_length=16)), Store(tmp_path / "store"), rows)
    record = scorer.score(llama, "tiny", IDENTITY, load_benchmark("pubmedqa")).record
    assert record.notices == ("9 prompts lost tokens from their left to fit 16 tokens",)
