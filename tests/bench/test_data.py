"""Rows come from where they should, and a broken file is refused by file and line."""

import json
from dataclasses import replace

import pytest
from datasets import Dataset
from pydantic import ValidationError

from bench.asked import asked as asked_of
from bench.benchmark import EvalTask
from bench.data import Rows, data_root, load_rows, read_jsonl
from bench.examples import ExampleSource, load_examples
from bench.hub import NoDataError
from bench.prompts import prompts_of
from bench.score_settings import ScoreSettings
from bench.scoring import Scorer
from bench.suite import load_benchmark
from bench.worked_examples import refuse_few_rows
from results.errors import InputError
from results.record import Asked, AskedRows
from results.store import Store


def write_rows(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_local_rows_take_the_hubs_columns_through_the_file_map(tmp_path):
    row = {
        "id": "x",
        "question": "Q?",
        "choices": {"text": ["a", "b"], "label": ["1", "2"]},
        "answerKey": "2",
    }
    write_rows(tmp_path / "m_arc/test_fr.jsonl", [row])
    rows = load_rows(load_benchmark("m_arc").tasks[0], tmp_path)
    (converted,) = rows.splits["test"]
    assert rows.source == "m_arc/test_fr.jsonl"
    assert {key: converted[key] for key in ("instruction", "option_a", "option_b", "option_c", "answer")} == {
        "instruction": "Q?",
        "option_a": "a",
        "option_b": "b",
        "option_c": None,
        "answer": "B",
    }


def test_the_digest_follows_the_rows_and_not_the_file(tmp_path):
    task = load_benchmark("gsm8k_cot").tasks[0]
    digests = []
    for folder, answer in (("a", "#### 1"), ("b", "#### 1"), ("c", "#### 2")):
        write_rows(tmp_path / folder / "gsm8k/test.jsonl", [{"question": "Q", "answer": answer}])
        digests.append(load_rows(task, tmp_path / folder).digest)
    assert digests[0] == digests[1] != digests[2]


def test_with_a_data_root_nothing_is_looked_for_on_the_hub(tmp_path):
    benchmarks = [load_benchmark(name) for name in ("gsm8k_cot", "lab_math")]
    reasons = Scorer(ScoreSettings(), Store(tmp_path), tmp_path).missing_data(benchmarks)
    assert list(reasons) == ["gsm8k_cot"]
    assert "gsm8k/test.jsonl does not exist; on the hub: openai/gsm8k (main)" in reasons["gsm8k_cot"]


def test_offline_the_hub_is_given_up_at_once():
    with pytest.raises(NoDataError, match=r"openai/gsm8k cannot be loaded from the hub"):
        load_rows(load_benchmark("gsm8k_cot").tasks[0], None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"question": "Q"}\n{"question": \n', "line 2, character 15: not valid JSON"),
        ('{"question": "Q"}\n[1]\n', "line 2: expected a JSON object"),
        ("\n", "holds no rows"),
        ("\x80", "cannot be read"),
    ],
)
def test_a_broken_file_is_refused_by_line(tmp_path, content, message):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match=message):
        read_jsonl(path)


def test_a_missing_column_is_named(tmp_path):
    write_rows(tmp_path / "m_arc/test_fr.jsonl", [{"id": "x", "question": "Q?", "answerKey": "A"}])
    with pytest.raises(InputError, match=r"test_fr\.jsonl, line 1: the column 'choices' is missing"):
        load_rows(load_benchmark("m_arc").tasks[0], tmp_path)


def test_the_data_root_is_the_argument_then_the_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("MANYSHOT_DATA", str(tmp_path))
    assert data_root(None) == tmp_path
    with pytest.raises(InputError, match="nowhere is not a folder"):
        data_root(tmp_path / "nowhere")
    monkeypatch.delenv("MANYSHOT_DATA")
    assert data_root(None) is None


def test_validation_and_training_share_a_shuffled_set(tmp_path):
    write_rows(tmp_path / "train.jsonl", [{"n": n, "ok": n % 2 == 0} for n in range(20)])
    of = {"split": "train", "prompt": "{{n}}", "completion": "", "files": {"train": "train.jsonl"}}
    of |= {"keep": "ok", "shuffle_seed": 42}
    validation = load_examples([ExampleSource(**of, size=4)], tmp_path)
    training = load_examples([ExampleSource(**of, start=4)], tmp_path)
    assert len(validation) == 4
    assert sorted(int(prompt) for prompt, _ in validation + training) == list(range(0, 20, 2))
    assert training != sorted(training)
    with pytest.raises(
        NoDataError, match=r"train\.jsonl has 10 usable rows, and the examples start behind row 10"
    ):
        load_examples([ExampleSource(**of, start=10)], tmp_path)
    with pytest.raises(NoDataError, match=r"other\.jsonl does not exist; on the hub: somebody/set"):
        load_examples(
            [
                ExampleSource(
                    split="train",
                    prompt="",
                    completion="",
                    files={"train": "other.jsonl"},
                    hub="somebody/set",
                )
            ],
            tmp_path,
        )


def test_a_set_can_be_shuffled_as_datasets_does(tmp_path):
    rows = [{"n": n} for n in range(50)]
    write_rows(tmp_path / "train.jsonl", rows)
    of = {"split": "train", "prompt": "{{n}}", "completion": "", "files": {"train": "train.jsonl"}}
    found = load_examples([ExampleSource(**of, shuffle_seed=1234, shuffle="datasets")], tmp_path)
    assert [int(prompt) for prompt, _ in found] == Dataset.from_list(rows).shuffle(seed=1234)["n"][:]
    assert found != load_examples([ExampleSource(**of, shuffle_seed=1234)], tmp_path)
    with pytest.raises(ValidationError, match="'python' or 'datasets'"):
        ExampleSource(**of, shuffle="numpy")


def test_several_answers_to_one_prompt_stay_on_one_side(tmp_path):
    write_rows(tmp_path / "train.jsonl", [{"n": n // 3} for n in range(30)])
    of = {"split": "train", "prompt": "{{n}}", "completion": "", "files": {"train": "train.jsonl"}}
    of |= {"shuffle_seed": 1, "group_by": "n"}
    validation = load_examples([ExampleSource(**of, size=2)], tmp_path)
    training = load_examples([ExampleSource(**of, start=2)], tmp_path)
    assert (len(validation), len(training)) == (6, 24)
    assert not set(validation) & set(training)


def test_a_template_that_does_not_fit_a_row_is_refused(tmp_path):
    write_rows(tmp_path / "train.jsonl", [{"messages": None}])
    source = ExampleSource(
        split="train", prompt="", completion="", files={"train": "train.jsonl"}, keep="messages | length > 1"
    )
    with pytest.raises(InputError, match=r"A row of .*train\.jsonl is not as its training template expects"):
        load_examples([source], tmp_path)


def test_examples_are_made_by_the_suites_templates(tmp_path):
    write_rows(tmp_path / "train.jsonl", [{"question": "1 + 1?", "answer": "2\n"}])
    source = ExampleSource(
        split="train", prompt="Q: {{question}}\nA:", completion=" {{answer}}", files={"train": "train.jsonl"}
    )
    assert load_examples([source], tmp_path) == [("Q: 1 + 1?\nA:", " 2\n")]
    wrong = ExampleSource(split="train", prompt="{{questoin}}", completion="", files={"train": "train.jsonl"})
    with pytest.raises(InputError, match="'questoin' is undefined"):
        load_examples([wrong], tmp_path)


def task_of(files, **config):
    return EvalTask(
        "t",
        {"dataset_path": "json", "dataset_kwargs": {"data_files": files}, "test_split": "test", **config},
        {},
    )


def test_files_of_a_task_that_lie_elsewhere_are_not_fetched_with_a_data_root(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("bench.data.hub_rows", lambda *given, **_: asked.append(given) or [{"a": 1}])
    for files in ({"test": ["hf://datasets/a/b/c.jsonl"]}, "https://a.b/c.jsonl"):
        task = task_of(files)
        with pytest.raises(NoDataError, match=r"lm_eval/t/test.jsonl does not exist; on the hub: h.*c.jsonl"):
            load_rows(task, tmp_path)
        assert load_rows(task, None).source.endswith("/c.jsonl")
        assert load_rows(task, None).origin == "files"
    assert len(asked) == 4
    write_rows(tmp_path / "lm_eval/t/test.jsonl", [{"q": 1}])
    assert load_rows(task, tmp_path).source == "lm_eval/t/test.jsonl"
    assert load_rows(task, tmp_path).origin == "local"
    assert len(asked) == 4


@pytest.mark.parametrize(
    ("path", "named", "origin"),
    [
        ("owner/set", "owner/set", "hub"), ("glue", "glue", "hub"), ("/home/jane/set", None, "hub"),
        ("../jane/set", None, "hub"), ("json", None, "files"),
    ],
)  # fmt: skip
def test_a_record_names_data_sets_of_the_hub_and_no_folders(monkeypatch, path, named, origin):
    monkeypatch.setattr("bench.data.hub_rows", lambda *_, **__: [{"q": 1}])
    task = task_of("https://a.b/c.jsonl", dataset_path=path, num_fewshot=3)
    benchmark = load_benchmark("gsm8k").but(tasks=(task, task))
    assert asked_of(benchmark, {"t": load_rows(task, None)}) == Asked(
        filter="flexible-extract",
        num_fewshot=(3,),
        rows=(AskedRows(source=origin, path=named, split="test"),),
    )


def test_the_source_of_a_tasks_own_files_is_their_names(tmp_path):
    write_rows(tmp_path / "a.jsonl", [{"q": 1}])
    own = str(tmp_path / "a.jsonl")
    assert load_rows(task_of({"test": own}), tmp_path).source == f"files: {own}"


CHOICE = {
    "task": "t",
    "output_type": "multiple_choice",
    "doc_to_text": "{{q}}",
    "doc_to_choice": ["a", "b"],
    "doc_to_target": 0,
    "metric_list": [{"metric": "acc"}],
}


def dev_rows():
    return Rows({split: [{"q": f"{split} {n}"} for n in range(5)] for split in ("test", "dev")}, "x")


@pytest.mark.parametrize("sampler", ["default", "first_n"])
@pytest.mark.parametrize(("split", "there"), [("dev", 5), ("test", 4)])
def test_more_worked_examples_than_there_are_is_refused(sampler, split, there):
    config = {**CHOICE, "fewshot_split": split, "fewshot_config": {"sampler": sampler}}
    task = task_of({}, **config, num_fewshot=there)
    refuse_few_rows(task, dev_rows())
    assert len(prompts_of(task, dev_rows(), seed=1)) == 5
    more = task_of({}, **config, num_fewshot=there + 1)
    message = f"t: {there + 1} worked examples asked for, of {there} to choose from"
    with pytest.raises(InputError, match=message):
        refuse_few_rows(more, dev_rows())
    with pytest.raises(InputError, match=message):
        prompts_of(more, dev_rows(), seed=1)


def test_too_many_worked_examples_are_refused_before_a_model_is_loaded(tmp_path):
    for split in ("test", "dev"):
        write_rows(tmp_path / f"lm_eval/t/{split}.jsonl", [{"q": f"{split} {n}"} for n in range(5)])
    task = replace(load_benchmark("arc_easy").tasks[0], name="t", files={}, columns=(), convert=None)
    config = {**CHOICE, "test_split": "test", "fewshot_split": "dev", "num_fewshot": 8}
    benchmark = load_benchmark("arc_easy").but(tasks=(replace(task, config=config),))
    with pytest.raises(InputError, match="t: 8 worked examples asked for, of 5"):
        Scorer(ScoreSettings(), Store(tmp_path), tmp_path).missing_data([benchmark])
