"""A score is a record: made once, found again, keyed by everything that decides it."""

import json
import shutil
from dataclasses import replace

import pytest
from pydantic import ValidationError
from tiny import tiny_llama

import bench.scoring
from bench.benchmark import EvalTask
from bench.data import Rows
from bench.engine import EngineSettings
from bench.lm_eval_task import build_task
from bench.score_settings import ScoreSettings
from bench.scored_checkpoint import ScoredCheckpoint
from bench.scoring import Scorer
from bench.suite import load_benchmark
from results.errors import InputError
from results.record import CheckpointIdentity
from results.store import Store

IDENTITY = CheckpointIdentity(weights="w", config="c", tokenizer="t")


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
    scored = scorer.score(ScoredCheckpoint("tiny", llama, IDENTITY), load_benchmark("pubmedqa"))
    documents = store.documents(scored.record)
    assert not scored.found
    assert scored.record.n == len(documents) == 3  # the fourth row is no official test question
    assert scored.record.value == documents["score"].mean()
    assert scored.record.metrics["pubmedqa/acc,none"] == scored.record.value
    assert scored.record.tokens["prompt"] > 0
    (of_rows,) = scored.record.asked.rows
    assert (of_rows.source, of_rows.path, of_rows.split) == ("local", "qiaojin/PubMedQA", "train")
    assert (scored.record.asked.filter, scored.record.asked.num_fewshot) == ("none", (0,))
    assert documents["prompt"][0] == "Abstract: A B C.\nQuestion: Question 21645374?\nAnswer:"


def test_a_second_run_finds_the_record_without_an_engine(llama, rows, tmp_path, monkeypatch):
    store = Store(tmp_path / "store")
    first = Scorer(ScoreSettings(), store, rows).score(
        ScoredCheckpoint("tiny", llama, IDENTITY), load_benchmark("pubmedqa")
    )
    monkeypatch.setattr(bench.scoring, "open_engine", None)
    second = Scorer(ScoreSettings(), store, rows).score(
        ScoredCheckpoint("again", llama, IDENTITY), load_benchmark("pubmedqa")
    )
    assert second.found
    assert second.record == first.record


@pytest.mark.parametrize(
    "settings",
    [
        ScoreSettings(limit=2),
        ScoreSettings(seed=7),
        ScoreSettings(engine=EngineSettings(dtype="bfloat16")),
        ScoreSettings(engine=EngineSettings(max_length=64)),
    ],
)
def test_other_settings_are_another_record(settings, llama, rows, tmp_path):
    store = Store(tmp_path / "store")
    benchmark = load_benchmark("pubmedqa")
    checkpoint = ScoredCheckpoint("tiny", llama, IDENTITY)
    Scorer(ScoreSettings(), store, rows).score(checkpoint, benchmark)
    assert Scorer(ScoreSettings(engine=EngineSettings(dtype="float32")), store, rows).find(
        checkpoint, benchmark
    )
    assert Scorer(settings, store, rows).find(checkpoint, benchmark) is None
    assert (
        Scorer(ScoreSettings(), store, rows).find(
            replace(checkpoint, identity=CheckpointIdentity(weights="v", config="c", tokenizer="t")),
            benchmark,
        )
        is None
    )


def test_other_rows_are_another_record(llama, rows, tmp_path):
    store = Store(tmp_path / "store")
    benchmark = load_benchmark("pubmedqa")
    checkpoint = ScoredCheckpoint("tiny", llama, IDENTITY)
    Scorer(ScoreSettings(), store, rows).score(checkpoint, benchmark)
    path = rows / "pubmedqa/test.jsonl"
    path.write_text(path.read_text().replace("A B C", "A B D"))
    assert Scorer(ScoreSettings(), store, rows).find(checkpoint, benchmark) is None


def test_the_engine_is_given_the_weights_that_the_record_names(llama, rows, tmp_path):
    """Also where a folder's content changed under the same path."""
    folder = tmp_path / "checkpoint"
    shutil.copytree(llama, folder)
    benchmark = load_benchmark("pubmedqa")
    store = Store(tmp_path / "store")
    scorer = Scorer(ScoreSettings(), store, rows)
    before = store.documents(scorer.score(ScoredCheckpoint("a", folder, IDENTITY), benchmark).record)
    shutil.copytree(tiny_llama(tmp_path / "other", seed=5), folder, dirs_exist_ok=True)
    changed = CheckpointIdentity(weights="other", config="c", tokenizer="t")
    after = store.documents(scorer.score(ScoredCheckpoint("a", folder, changed), benchmark).record)
    fresh = Scorer(ScoreSettings(), Store(tmp_path / "fresh"), rows)
    expected = fresh.score(ScoredCheckpoint("a", folder, changed), benchmark).record
    assert list(after["output"]) == list(Store(tmp_path / "fresh").documents(expected)["output"])
    assert list(after["output"]) != list(before["output"])


def test_after_a_failed_swap_the_engine_is_started_anew(llama, rows, tmp_path):
    benchmark = load_benchmark("pubmedqa")
    broken = tiny_llama(tmp_path / "broken", seed=5)
    (broken / "model.safetensors").write_bytes((broken / "model.safetensors").read_bytes()[:-8])
    scorer = Scorer(ScoreSettings(), Store(tmp_path / "store"), rows)
    first = scorer.score(ScoredCheckpoint("a", llama, IDENTITY), benchmark).record
    with pytest.raises(InputError):
        scorer.score(
            ScoredCheckpoint("b", broken, CheckpointIdentity(weights="b", config="c", tokenizer="t")),
            benchmark,
        )
    assert scorer._engine is None
    other = load_benchmark("lab_yes_no")
    after = scorer.score(ScoredCheckpoint("a", llama, IDENTITY), other).record
    fresh = (
        Scorer(ScoreSettings(), Store(tmp_path / "fresh"), rows)
        .score(ScoredCheckpoint("a", llama, IDENTITY), other)
        .record
    )
    assert (first.n, after.metrics) == (3, fresh.metrics)


def test_columns_that_only_later_rows_have_are_kept():
    task = EvalTask("t", {"task": "t", "test_split": "test", "output_type": "generate_until",
                          "doc_to_text": "a", "doc_to_target": "a"}, {})  # fmt: skip
    built = build_task(task, Rows({"test": [{"a": "1"}, {"a": "2", "b": "3"}]}, "made up"), seed=0)
    assert built.eval_docs[1] == {"a": "2", "b": "3"}


def test_rows_that_a_task_cannot_ask_are_refused(llama, tmp_path):
    path = tmp_path / "data/pubmedqa/test.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text('{"pubid": 21645374, "question": "Q", "final_decision": "yes"}\n')
    scorer = Scorer(ScoreSettings(), Store(tmp_path / "store"), tmp_path / "data")
    with pytest.raises(InputError, match=r"pubmedqa/test.jsonl, line 1: the column 'context' is missing"):
        scorer.score(ScoredCheckpoint("tiny", llama, IDENTITY), load_benchmark("pubmedqa"))


def test_a_limit_below_one_is_refused():
    with pytest.raises(ValidationError, match="greater than 0"):
        ScoreSettings(limit=0)


def test_prompts_that_lose_tokens_are_counted_in_the_record(llama, rows, tmp_path):
    scorer = Scorer(ScoreSettings(engine=EngineSettings(max_length=16)), Store(tmp_path / "store"), rows)
    record = scorer.score(ScoredCheckpoint("tiny", llama, IDENTITY), load_benchmark("pubmedqa")).record
    assert record.notices == (
        "pubmedqa: 4 rows from pubmedqa/test.jsonl; the hub's split has 500",
        "9 prompts lost tokens on the left to fit 16 tokens",
    )
