"""A row that is not as its benchmark reads it is refused by file, line and column."""

import json

import pytest

from bench.benchmark import EvalTask
from bench.columns import column_rules
from bench.data import load_rows, read_jsonl
from bench.suite import benchmark_names, load_benchmark
from results.errors import InputError

RULES = {
    "question": "text",
    "options": "texts",
    "label": [0, 1],
    "note?": "text",
    "year": "integer",
    "choices": {"text": "texts"},
}
RIGHT = {"question": "Q", "options": ["a"], "label": 1, "note": None, "year": 3, "choices": {"text": ["b"]}}


def load(tmp_path, *lines):
    (tmp_path / "rows.jsonl").write_text("".join(f"{line}\n" for line in lines))
    task = EvalTask("t", {"test_split": "test"}, {"test": "rows.jsonl"}, column_rules(RULES, "t"))
    return load_rows(task, tmp_path).splits["test"]


def test_a_row_as_it_should_be_is_kept_and_what_it_may_lack_is_null(tmp_path):
    without_note = {key: value for key, value in RIGHT.items() if key != "note"}
    assert load(tmp_path, json.dumps(RIGHT), "", json.dumps(without_note)) == [RIGHT, RIGHT]


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("question", 7, "'question' must be a text, not 7"),
        ("question", None, "'question' is null"),
        ("options", [], r"'options' must be a list of texts, at least one, not \[\]"),
        ("options", ["a", 1], "'options' must be a list of texts"),
        ("label", 2, "'label' must be one of 0, 1, not 2"),
        ("label", "1", "'label' must be one of 0, 1, not '1'"),
        ("label", 1.0, "'label' must be one of 0, 1, not 1.0"),
        ("label", True, "'label' must be one of 0, 1, not True"),
        ("note", 5, "'note' must be a text, not 5"),
        ("year", 1.5, "'year' must be a whole number, not 1.5"),
        ("year", True, "'year' must be a whole number, not True"),
        ("choices", "x", "'choices' must be a mapping, not 'x'"),
        ("choices", {}, "'choices.text' is missing"),
        ("question", ["x" * 500], "must be a text, not .{60}…?"),
    ],
)
def test_a_wrong_value_is_refused_by_file_line_and_column(tmp_path, column, value, reason):
    with pytest.raises(InputError, match=rf"rows\.jsonl, line 3: the column {reason}|{reason}") as refusal:
        load(tmp_path, json.dumps(RIGHT), "", json.dumps(RIGHT | {column: value}))
    assert "rows.jsonl, line 3: the column" in str(refusal.value)
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (['{"question": '], "line 1, character 15: not valid JSON"),
        (["[1]"], "line 1: expected a JSON object"),
        ([""], "holds no rows"),
        (["[" * 100_000], "line 1: nested too deeply"),
        (['{"question": "a", "n": ' + "9" * 5000 + "}"], "line 1: a whole number has too many digits"),
        (['{"question": "a", "n": ' + "9" * 30 + "}"], "line 1: a whole number has 100 bits"),
        (['{"question": "a\\ud800"}'], "line 1: the text .* has half of a surrogate pair"),
    ],
)
def test_a_broken_or_empty_file_is_refused(tmp_path, lines, message):
    with pytest.raises(InputError, match=rf"rows\.jsonl.*{message}"):
        load(tmp_path, *lines)


def test_an_unknown_kind_in_a_definition_is_refused():
    with pytest.raises(InputError, match="t: the column 'a' is of the unknown kind 'float'"):
        column_rules({"a": "float"}, "t")


LOCAL = sorted(
    {name for name in benchmark_names() if not load_benchmark(name).tasks[0].generate}
    - {"imdb", "m_hellaswag", "m_mmlu", "glue_mrpc", "glue_qqp", "glue_mrpc_generated", "glue_qqp_generated"}
)


@pytest.mark.parametrize("name", LOCAL)
def test_every_benchmark_misses_each_column_that_it_reads(name, data, tmp_path):
    """On real rows: without a column that the definition names, no score is made."""
    task = load_benchmark(name).tasks[0]
    file = task.files[task.scored_split]
    rows = read_jsonl(data / file)[:2]
    (tmp_path / file).parent.mkdir(parents=True)
    needed = {column for column in rows[0] if column in {rule.name for rule in task.columns if rule.required}}
    needed |= {"question", "choices", "answerKey"} & set(rows[0]) if name == "m_arc" else set()
    assert needed
    for column in needed:
        cut = [rows[0], {key: value for key, value in rows[1].items() if key != column}]
        (tmp_path / file).write_text("".join(json.dumps(row) + "\n" for row in cut))
        examples = task.files.get("train")
        if task.config.get("num_fewshot") and examples:
            (tmp_path / examples).write_text(json.dumps(rows[0]) + "\n")
        with pytest.raises(InputError, match=rf"{file}, line 2: .*column '{column}'"):
            load_rows(task, tmp_path)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("xstest", {"label": "harmless"}, "'label' must be one of 'safe', 'unsafe'"),
        ("pubmedqa", {"final_decision": "perhaps"}, "'final_decision' must be one of 'yes', 'no', 'maybe'"),
        ("glue_rte", {"label": 2}, "'label' must be one of 0, 1, not 2"),
        ("arc_easy", {"answerKey": "Z"}, "'answerKey' must be one of A, B, C, D"),
        ("m_arc", {"answerKey": "Z"}, "'answerKey' must be one of A, B, C, D"),
        ("qasc", {"answerKey": "Z"}, "'answerKey' must be one of A, B"),
        ("gsm8k_cot", {"answer": "banana"}, "'answer' must end with '#### ' and a number"),
        ("hellaswag", {"label": "4"}, "'label' must be one of 0 to 3, not '4'"),
        ("hellaswag", {"endings": ["a", "b"]}, "'label' must be one of 0 to 1, not '3'"),
        (
            "coqa",
            {"additional_answers": {"0": {"input_text": []}}},
            "'additional_answers.0' must have as many",
        ),
        ("ifeval", {"instruction_id_list": ["keywords:all"]}, "names the unknown instruction 'keywords:all'"),
        ("ifeval", {"kwargs": []}, "'kwargs' must have one mapping for each instruction"),
        ("coqa", {"answers": {"input_text": ["one"]}}, "'answers' must be as many as the"),
        ("mgsm", {"answer_number": "eleven"}, "'answer_number' must be a whole number"),
    ],
)
def test_a_wrong_label_is_refused_by_line_and_column(name, change, message, data, tmp_path):
    task = load_benchmark(name).tasks[0]
    file = task.files[task.scored_split]
    row = read_jsonl(data / file)[0]
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(f"{json.dumps(row)}\n{json.dumps(row | change)}\n")
    with pytest.raises(InputError, match=rf"{file}, line 2: .*{message}"):
        load_rows(task, tmp_path)


def test_a_row_of_many_megabytes_is_read_with_a_warning(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr("bench.data._LONG_LINE", 10)
    monkeypatch.setattr("bench.data.logger.warning", lambda text, *values: said.append(text % values))
    assert load(tmp_path, json.dumps(RIGHT)) == [RIGHT]
    assert len(said) == 1 and "rows.jsonl, line 1 has 0 million letters" in said[0]
