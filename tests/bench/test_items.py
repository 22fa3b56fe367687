"""Which documents are one item: named by the definition, told by the rows, kept in the record."""

import json

import pytest
from tiny import tiny_llama

from bench.benchmark import read_benchmark
from bench.data import load_rows, read_jsonl
from bench.items import ItemRule, RowsAgreeIn, item_rule
from bench.prompts import documents_of
from bench.score_settings import ScoreSettings
from bench.scored_checkpoint import ScoredCheckpoint
from bench.scoring import Scorer
from bench.suite import benchmark_names, load_benchmark
from results.errors import InputError
from results.record import CheckpointIdentity
from results.store import Store
from tasks.m_mmlu.local import hub_columns

IDENTITY = CheckpointIdentity(weights="w", config="c", tokenizer="t")
TRANSLATED = ("m_mmlu", "m_arc", "m_hellaswag", "global_mmlu", "mgsm", "xcopa", "lab_multilingual")


def items_of(benchmark, task, root):
    docs = documents_of(task, load_rows(task, root))
    return [benchmark.items.name(doc, number) for number, doc in enumerate(docs)]


def test_every_benchmark_in_several_languages_says_what_its_items_are():
    assert {name for name in benchmark_names() if load_benchmark(name).items} == set(TRANSLATED)
    assert all(len(load_benchmark(name).tasks) == 1 for name in set(benchmark_names()) - set(TRANSLATED))


@pytest.mark.parametrize(("name", "first"), [
    ("m_arc", "m_arc/Mercury_SC_409024"), ("global_mmlu", "global_mmlu/abstract_algebra/dev/0"),
    ("mgsm", "mgsm/0/18"), ("xcopa", "xcopa/0"),
])  # fmt: skip
def test_real_rows_name_the_same_items_in_all_languages(name, first, data):
    benchmark = load_benchmark(name)
    of_tasks = [items_of(benchmark, task, data) for task in benchmark.tasks]
    assert of_tasks[0][0] == first
    assert len(set(of_tasks[0])) == len(of_tasks[0])
    assert all(one == of_tasks[0] for one in of_tasks)


def test_local_rows_of_mmlu_are_named_as_on_the_hub(data):
    rows = [hub_columns(row) for row in read_jsonl(data / "m_mmlu/test_ar.jsonl")]
    rule = load_benchmark("m_mmlu").items
    assert rule.name(rows[0], 0) == "m_mmlu/abstract_algebra/test/1"


def test_one_language_has_the_items_of_all():
    assert load_benchmark("m_arc_ar").items == load_benchmark("m_arc").items == ItemRule("m_arc", "id")
    assert load_benchmark("m_arc").on_split("train").items.of == "m_arc"


def arc_rows(root, **ids):
    (root / "m_arc").mkdir(parents=True)
    for language, listed in ids.items():
        rows = [
            {"id": one, "instruction": f"Q {one}?", "option_a": "x", "option_b": "y", "answer": "A"}
            for one in listed
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (root / f"m_arc/test_{language}.jsonl").write_text(text)


def test_a_record_keeps_the_items_by_name_where_translations_are_missing(tmp_path):
    arc_rows(tmp_path, fr=["M1", "M2", "M3"], es=["M2", "M3"], de=["M3", "M1"], ru=["M1", "M2", "M3"])
    store = Store(tmp_path / "store")
    scorer = Scorer(ScoreSettings(), store, tmp_path)
    record = scorer.score(
        ScoredCheckpoint("tiny", tiny_llama(tmp_path / "llama"), IDENTITY), load_benchmark("m_arc")
    ).record
    found = store.documents(record, ["lm_eval_task", "item"]).groupby("lm_eval_task")["item"].apply(list)
    assert dict(found) == {
        "arc_fr": ["m_arc/M1", "m_arc/M2", "m_arc/M3"],
        "arc_es": ["m_arc/M2", "m_arc/M3"],
        "arc_de": ["m_arc/M3", "m_arc/M1"],
        "arc_ru": ["m_arc/M1", "m_arc/M2", "m_arc/M3"],
    }


def test_rows_without_a_name_must_be_the_same_in_all_languages():
    rule = ItemRule("mgsm", None, ("answer_number",))
    right = [{"answer_number": 3}, {"answer_number": 7}]
    rule.check({"de": right, "en": right})
    with pytest.raises(InputError, match=r"mgsm: 1 rows of en and 2 of de: .* give all of them"):
        rule.check({"de": right, "en": right[:1]})
    with pytest.raises(InputError, match=r"mgsm: row 0 has the answer_number 7 in en and 3 in de: .* order"):
        rule.check({"de": right, "en": right[::-1]})


def test_scoring_refuses_rows_that_are_not_the_same_in_all_languages(data, tmp_path):
    (tmp_path / "mgsm").mkdir()
    for path in sorted((data / "mgsm").glob("test_*.jsonl")):
        lines = path.read_text().splitlines(keepends=True)[:3]
        (tmp_path / "mgsm" / path.name).write_text("".join(lines[: 2 if path.stem == "test_zh" else 3]))
    scorer = Scorer(ScoreSettings(), Store(tmp_path / "store"), tmp_path)
    with pytest.raises(InputError, match="2 rows of mgsm_native_cot_zh and 3 of mgsm_native_cot_bn"):
        scorer.score(
            ScoredCheckpoint("tiny", tiny_llama(tmp_path / "llama"), IDENTITY), load_benchmark("mgsm")
        )


DEFINITION = """
name: {name}
title: two
category: math
licence: MIT
metric: acc
{items}
tasks:
  one: {{config: {{test_split: test, output_type: multiple_choice}}}}
  two: {{config: {{test_split: test, output_type: multiple_choice}}}}
"""


def test_a_benchmark_of_several_tasks_must_say_what_its_items_are(tmp_path):
    def read(items):
        (tmp_path / "benchmark.yaml").write_text(DEFINITION.format(name="two", items=items))
        return read_benchmark(tmp_path)

    with pytest.raises(InputError, match="several lm-eval tasks and no key 'items': name the column"):
        read("")
    assert read("items: null").items is None
    assert read("items: id").items == ItemRule("two", "id")
    assert read("items: id").definition_digest != read("items: null").definition_digest
    with pytest.raises(InputError, match=r"'items' is \['id'\], where text or"):
        read("items: [id]")
    assert item_rule(RowsAgreeIn(rows_agree_in=["n"]), "two") == ItemRule("two", None, ("n",))
