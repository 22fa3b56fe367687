"""What `manyshot card` writes, read back by the library that the hub's readers use."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import yaml
from command_line import manyshot
from huggingface_hub import ModelCard, parse_eval_result_entries
from tiny import tiny_llama

from bench.asked import asked as asked_of
from bench.data import Rows
from bench.suite import load_benchmark
from merging.checkpoints.adapted import open_checkpoint
from results.record import CheckpointIdentity, Record, RecordKey
from results.store import Store
from results.uncertainty import uncertainty

RIGHT, ASKED = 60, 200
CREATED = "2026-01-02T03:04:05+00:00"
TEMPLATE = {"template": "0123456789abcdef", "system_instruction": None}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_llama(tmp_path_factory.mktemp("models") / "own model")


@pytest.fixture
def folder(model):
    """A checkpoint without a card."""
    yield model
    (model / "README.md").unlink(missing_ok=True)
    for path in model.glob(".eval_results/*"):
        path.unlink()


def keep(store, folder, benchmark, *, right=RIGHT, asked=ASKED, created=CREATED, origin="hub", **settings):
    """A record of a checkpoint in a store, with a score for each document."""
    identity = folder if isinstance(folder, CheckpointIdentity) else open_checkpoint(folder).identity()
    scores = [1.0] * right + [0.0] * (asked - right)
    documents = pd.DataFrame(
        {"lm_eval_task": [benchmark.name] * asked, "doc_id": range(asked), "score": scores}
    )
    key = RecordKey(
        checkpoint=identity,
        benchmark=benchmark.name,
        definition=benchmark.definition_digest,
        data="d",
        settings={
            "engine": "hf",
            "dtype": "float32",
            "limit": None,
            "seed": 1,
            "chat_template": None,
            **settings,
        },
    )
    record = Record(
        key=key, name=str(folder), metric=benchmark.metric, value=right / asked,
        metrics={f"{benchmark.name}/{benchmark.metric},none": right / asked}, n=asked, seconds=1.0,
        versions={"lm_eval": "0.4.13"}, created=created,
        asked=origin and asked_of(
            benchmark, {task.name: Rows({}, "somewhere", origin=origin) for task in benchmark.tasks}
        ),
    )  # fmt: skip
    return Store(store).write(record, documents)


def card(folder, tmp_path, *more):
    done = manyshot("card", folder, "--store", tmp_path / "store", *more, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return ModelCard((folder / "README.md").read_text())


def test_the_model_index_has_the_score_its_error_and_how_it_was_made(folder, tmp_path):
    record = keep(tmp_path / "store", folder, load_benchmark("gsm8k"), chat_template=TEMPLATE)
    found = card(folder, tmp_path)
    (result,) = found.data.eval_results
    assert (found.data.model_name, found.data.library_name) == ("own model", "transformers")
    assert (result.task_type, result.dataset_type) == ("text-generation", "openai/gsm8k")
    assert (result.dataset_name, result.dataset_config, result.dataset_split) == ("gsm8k", "main", "test")
    assert (result.metric_type, result.metric_value) == ("exact_match", RIGHT / ASKED)
    assert result.metric_name == (
        "exact_match, flexible-extract (5-shot, chat template 0123456789ab, engine hf, dtype float32, seed 1)"
    )
    assert result.metric_args["rows"] == "hub"
    share = RIGHT / ASKED
    assert result.metric_args["standard_error"] == pytest.approx(
        np.sqrt(share * (1 - share) / ASKED), rel=0.05
    )
    low, high = result.metric_args["interval_95"]
    assert (low, high) == pytest.approx((share - 0.0635, share + 0.0635), abs=0.01)
    assert (result.metric_args["n"], result.metric_args["num_fewshot"]) == (ASKED, 5)
    assert result.metric_args["record"] == record.key.digest
    table = next(line for line in found.text.splitlines() if line.startswith("| gsm8k"))
    cells = [cell.strip() for cell in table.strip("|").split("|")]
    assert cells[2] == "0.300"
    assert cells[5:] == ["200", "5", "0123456789ab", "all", "engine hf, dtype float32, seed 1"]


def test_whole_scores_of_the_hubs_benchmarks_are_entries_in_percent(folder, tmp_path):
    gsm8k, store, later = load_benchmark("gsm8k"), tmp_path / "store", "2026-02-02T00:00:00+00:00"
    keep(store, folder, gsm8k, right=50, asked=1319)
    keep(store, folder, load_benchmark("gsm8k_cot"), right=400, asked=1319, created=later)
    keep(store, folder, gsm8k, right=3, asked=4, limit=4, created="2026-03-03T00:00:00+00:00")
    keep(store, folder, gsm8k.but(filter="strict-match"), right=5, asked=1319, seed=3)
    keep(tmp_path / "store", folder, load_benchmark("pubmedqa"))
    card(folder, tmp_path)
    assert [path.name for path in folder.glob(".eval_results/*")] == ["gsm8k.yaml"]
    content = yaml.safe_load((folder / ".eval_results/gsm8k.yaml").read_text())
    (entry,) = parse_eval_result_entries(content)
    assert (entry.dataset_id, entry.task_id, entry.value) == ("openai/gsm8k", "gsm8k", 30.326)
    assert entry.date == "2026-02-02T00:00:00+00:00"
    assert re.fullmatch(
        r"8-shot, engine hf, dtype float32, seed 1, exact_match, flexible-extract, standard error 1\.\d\d, "
        r"1319 documents, manyshot record [0-9a-f]{64}",
        entry.notes,
    )
    assert content[0].keys() == {"dataset", "value", "date", "notes"}


def test_a_limit_validation_data_and_other_numbers_of_examples_are_told_apart(folder, tmp_path):
    gsm8k, store = load_benchmark("gsm8k"), tmp_path / "store"
    keep(store, folder, gsm8k.with_fewshot(3), limit=200)
    keep(store, folder, load_benchmark("pubmedqa").but(name="pubmedqa@validation"))
    keep(store, folder, gsm8k.but(metric="of another time"), limit=0.5, origin=None)
    keep(store, CheckpointIdentity(weights="w", config="c", tokenizer="t"), gsm8k)
    made = card(folder, tmp_path)
    row = next(line for line in made.text.splitlines() if "of another time" in line)
    assert [cell.strip() for cell in row.strip("|").split("|")][6] == "–"
    names = {result.metric_name for result in made.data.eval_results}
    assert names == {
        "exact_match, flexible-extract (3-shot, first 200 a task, engine hf, dtype float32, seed 1)",
        "of another time (first 0.5 of the documents, engine hf, dtype float32, seed 1)",
    }
    assert not (folder / ".eval_results").exists() or not any((folder / ".eval_results").iterdir())


def test_a_second_card_replaces_the_first_and_leaves_the_rest(folder, tmp_path):
    (folder / "README.md").write_text(
        "---\nlicense: mit\ncustom_key: [1, 2]\nmodel-index:\n- name: Mine\n  results:\n"
        "  - task: {type: text-generation}\n    dataset: {type: squad, name: SQuAD}\n"
        "    metrics: [{type: f1, value: 0.5}]\n---\n\n# Mine\n\nWords.\n"
    )
    keep(tmp_path / "store", folder, load_benchmark("gsm8k"))
    card(folder, tmp_path)
    keep(tmp_path / "store", folder, load_benchmark("pubmedqa"))
    once = card(folder, tmp_path)
    again = card(folder, tmp_path)
    assert str(once) == str(again)
    assert [(one.dataset_name, one.metric_value) for one in again.data.eval_results] == [
        ("SQuAD", 0.5), ("gsm8k", 0.3), ("pubmedqa", 0.3),
    ]  # fmt: skip
    assert (again.data.license, again.data.custom_key, again.data.model_name) == ("mit", [1, 2], "Mine")
    assert again.text.count("## Scores") == 1
    assert again.text.strip().startswith("# Mine\n\nWords.\n")


OTHERS = """- dataset:
    id: openai/gsm8k
    task_id: gsm8k
  value: 41.5
  date: 2025-01-15T10:30:00Z
  notes: by hand, no manyshot record
"""


def entries(folder, name="gsm8k"):
    return yaml.safe_load((folder / f".eval_results/{name}.yaml").read_text())


def test_entries_of_others_stay_and_ours_are_replaced_or_removed(folder, tmp_path):
    gsm8k, other = load_benchmark("gsm8k"), tmp_path / "other"
    (folder / ".eval_results").mkdir(exist_ok=True)
    (folder / ".eval_results/gsm8k.yaml").write_text(OTHERS)
    (folder / ".eval_results/other.yaml").write_text(OTHERS)
    keep(tmp_path / "store", folder, gsm8k, right=400, asked=1319)
    for _ in range(2):  # written again it is the same
        card(folder, tmp_path)
        assert [(one["value"], str(one["date"])) for one in entries(folder)] == [
            (41.5, "2025-01-15T10:30:00Z"), (30.326, CREATED),
        ]  # fmt: skip
    keep(
        tmp_path / "store", folder, gsm8k, right=500, asked=1319, seed=2, created="2026-05-05T00:00:00+00:00"
    )
    card(folder, tmp_path)
    assert [one["value"] for one in entries(folder)] == [41.5, 37.9075]
    keep(other, folder, load_benchmark("pubmedqa"))
    done = manyshot("card", folder, "--store", other, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [one["value"] for one in entries(folder)] == [41.5]
    assert (folder / ".eval_results/other.yaml").read_text() == OTHERS


def test_a_file_of_entries_that_no_longer_hold_goes(folder, tmp_path):
    keep(tmp_path / "store", folder, load_benchmark("gsm8k"), asked=1319)
    card(folder, tmp_path)
    assert len(entries(folder)) == 1
    keep(tmp_path / "other", folder, load_benchmark("pubmedqa"))
    assert manyshot("card", folder, "--store", "other", cwd=tmp_path).returncode == 0
    assert not list(folder.glob(".eval_results/*"))


@pytest.mark.parametrize("text", ["{", "a: 1", "3"])
def test_entries_that_cannot_be_read_are_named_before_anything_is_written(folder, tmp_path, text):
    keep(tmp_path / "store", folder, load_benchmark("gsm8k"), asked=1319)
    (folder / ".eval_results").mkdir(exist_ok=True)
    (folder / ".eval_results/gsm8k.yaml").write_text(text)
    done = manyshot("card", folder, "--store", "store", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "gsm8k.yaml" in done.stderr
    assert not (folder / "README.md").exists()


@pytest.mark.parametrize(
    ("origin", "change"),
    [
        ("local", {}),
        ("files", {}),
        (None, {}),
        ("hub", {"limit": 1319}),
        ("hub", {"metric": "bleu"}),
    ],
)
def test_what_is_not_the_hubs_own_rows_and_metric_is_no_entry(folder, tmp_path, origin, change):
    settings = {key: value for key, value in change.items() if key == "limit"}
    benchmark = load_benchmark("gsm8k").but(**{k: v for k, v in change.items() if k != "limit"})
    keep(tmp_path / "store", folder, benchmark, right=5, asked=1319, origin=origin, **settings)
    (result,) = card(folder, tmp_path).data.eval_results
    assert result.metric_args.get("rows") == origin
    assert not list(folder.glob(".eval_results/*"))


def test_scores_by_different_settings_are_told_apart_and_the_choice_is_said(folder, tmp_path):
    gsm8k, store = load_benchmark("gsm8k"), tmp_path / "store"
    thinking = {**TEMPLATE, "arguments": {"enable_thinking": True}, "think_end": "</think>"}
    for i, settings in enumerate(
        (
            {}, {"system_instruction": "Be brief."}, {"system_instruction": "/home/jane/x"},
            {"gen_kwargs": "model"}, {"dtype": "bfloat16"}, {"engine": "vllm"}, {"max_length": 512},
            {"chat_template": TEMPLATE},
            {"chat_template": thinking}, {"chat_template": {**thinking, "system_instruction": "Be brief."}},
            {"chat_template": {**TEMPLATE, "fewshot_as_multiturn": False}},
            {"chat_template": {**thinking, "arguments": {"enable_thinking": False}}},
        )
    ):  # fmt: skip
        keep(
            store,
            folder,
            gsm8k,
            right=i,
            asked=1319,
            created=f"2026-01-{i + 1:02}T00:00:00+00:00",
            **settings,
        )
    done = manyshot("card", folder, "--store", "store", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "gsm8k has 12 scores; the entry for the hub's leaderboard is the newest: 0.83 %" in done.stderr
    assert "enable_thinking false" in done.stderr
    made = ModelCard((folder / "README.md").read_text())
    names = [result.metric_name for result in made.data.eval_results]
    assert len(set(names)) == len(names) == 12
    rows = [line.split("|")[7:] for line in made.text.splitlines() if line.startswith("| gsm8k")]
    assert len({tuple(row) for row in rows}) == 12
    assert "jane" not in str(made) + (folder / ".eval_results/gsm8k.yaml").read_text()


def test_the_scores_of_a_merge_stand_before_its_recipe(folder, tmp_path):
    (tmp_path / "recipe.yaml").write_text(
        yaml.safe_dump({"base": str(folder), "experts": {"a": str(folder)}, "method": {"name": "average"}})
    )
    assert manyshot("merge", "recipe.yaml", "merged", cwd=tmp_path).returncode == 0
    before = ModelCard((tmp_path / "merged/README.md").read_text())
    keep(tmp_path / "store", tmp_path / "merged", load_benchmark("gsm8k"))
    after = card(tmp_path / "merged", tmp_path)
    assert after.data.tags == before.data.tags == ["merge", "manyshot"]
    assert after.text.index("A merge by") < after.text.index("## Scores") < after.text.index("## Recipe")
    begin, end = after.text.index("<!-- manyshot: scores"), after.text.index("## Recipe")
    assert after.text[:begin] + after.text[end:] == before.text


def test_what_is_missing_is_said_in_a_sentence(folder, tmp_path):
    keep(
        tmp_path / "store",
        CheckpointIdentity(weights="w", config="c", tokenizer="t"),
        load_benchmark("gsm8k"),
    )
    broken = "---\nmodel-index: [{name: x}]\n---\n"
    for arguments, said in (
        (["nowhere", "--store", "store"], "nowhere is no folder"),
        ([folder, "--store", "none"], "none: no such store"),
        ([folder, "--store", "store"], "has no score of"),
    ):
        done = manyshot("card", *arguments, cwd=tmp_path)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert said in done.stderr
    assert not (folder / "README.md").exists()
    keep(tmp_path / "store", folder, load_benchmark("gsm8k"))
    for text in (broken, "---\n[not a mapping]\n---\n", "---\n{\n---\n"):
        (folder / "README.md").write_text(text)
        done = manyshot("card", folder, "--store", "store", cwd=tmp_path)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "is no model card that the hub would read" in done.stderr
        assert (folder / "README.md").read_text() == text


def test_one_document_has_no_interval(folder, tmp_path):
    record = keep(tmp_path / "store", folder, load_benchmark("gsm8k"), right=1, asked=1)
    known = uncertainty(record, Store(tmp_path / "store"))
    assert (known.standard_error, known.interval) == (None, None)
    (result,) = card(folder, tmp_path).data.eval_results
    assert not {"standard_error", "interval_95"} & result.metric_args.keys()
    assert json.dumps(result.metric_args)
