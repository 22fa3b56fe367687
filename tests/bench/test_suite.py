"""Benchmarks and suites are found by name, and what is wrong in a definition is said."""

import json
import re
from dataclasses import replace

import pytest

import bench.benchmark as benchmark_module
from bench.benchmark import read_benchmark
from bench.data import load_rows
from bench.definition import tasks_folder
from bench.examples import load_examples
from bench.hub import NoDataError
from bench.prompts import prompts_of
from bench.score_settings import ScoreSettings
from bench.suite import benchmark_names, load_benchmark, load_suite, suite_names
from results.errors import InputError

DEFINITION = """
name: counting
title: Counting
category: math
licence: MIT
metric: acc
tasks:
  counting:
    config: {output_type: multiple_choice, test_split: test, doc_to_text: "%s"}
"""


def test_every_benchmark_and_suite_can_be_loaded():
    assert {load_benchmark(name).name for name in benchmark_names()} == set(benchmark_names())
    assert [load_suite(name).name for name in suite_names()] == [
        "divmerge-glue",
        "divmerge-t5",
        "glue-lab",
        "glue-lab-shifted",
        "lab",
        "metis",
        "smol-glue",
        "smol-metis",
        "smol-skills",
        "t5-lab",
    ]


def test_metis_is_six_benchmarks_in_four_tasks_and_two_that_watch_forgetting():
    suite = load_suite("metis")
    assert {task: len(content.benchmarks) for task, content in suite.tasks.items()} == {
        "instruction": 1,
        "math": 1,
        "multilingual": 3,
        "safety": 1,
    }
    assert [benchmark.name for benchmark in suite.forgetting] == ["coqa", "pubmedqa"]
    assert suite.spec.task_of("m_arc") == "multilingual"
    assert suite.spec.task_of("coqa") is None


def test_a_packaged_task_keeps_what_lm_eval_says_of_it():
    (task,) = load_benchmark("gsm8k_cot").tasks
    assert (task.config["num_fewshot"], task.hub, task.scored_split) == (8, "openai/gsm8k (main)", "test")


def test_the_definition_digest_follows_the_definition_and_its_version(tmp_path):
    digests = []
    for prompt, version in (("How many?", 1), ("How many?", 1), ("What number?", 1), ("How many?", 2)):
        (tmp_path / "benchmark.yaml").write_text(DEFINITION % prompt + f"version: {version}\n")
        digests.append(read_benchmark(tmp_path).definition_digest)
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_the_definition_digest_follows_the_version_of_scoring(monkeypatch):
    before = load_benchmark("lab_safety").definition_digest
    monkeypatch.setattr(benchmark_module, "SCORING_VERSION", 0)
    assert load_benchmark("lab_safety").definition_digest != before


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("metric: acc", "", "the key 'metric' is required and missing"),
        ("metric: acc", "metric: acc\nmetrik: acc", "the key 'metrik' is unknown"),
        ("metric: acc", "metric: null", "'metric' is None, where text is expected"),
        ("    config:", "    confg:", "the key 'tasks.counting.confg' is unknown"),
        ("title: Counting", "title: [", "not valid YAML"),
        ("title: Counting", "title: !!python/object/apply:os.getcwd []", "not valid YAML"),
        ("title: Counting", "title: [a]", "'title' is ['a'], where text is expected"),
        ("title: Counting", "title: a\nchance: high", "'chance' is 'high', where a number is expected"),
        ("title: Counting", "title: a\nversion: one", "'version' is 'one', where a whole number is expected"),
        ("title: Counting", "title: a\nhigher_is_better: 'no'", "where true or false is expected"),
        ("title: Counting", "title: a\nlanguages: 7", "'languages' must be a mapping"),
        ("title: Counting", "title: a\nlanguages: {default: []}", "'languages.default' is []"),
        ("title: Counting", "title: a\nrecorded: 5", "'recorded' must be a mapping"),
        ("title: Counting", "title: a\njudged: {request: a, metrics: b}", "a function is written `!function"),
        ("title: Counting", "title: a\nnotice: a.b", "'notice': a function is written `!function"),
        ("title: Counting", "title: a\ninclude: 5", "'include' is 5, where a list is expected"),
        ("title: Counting", "title: a\ninclude: benchmark.yaml", "benchmark.yaml includes itself"),
        ("name: counting", "name: 5", "'name' is 5, where text is expected"),
        ("  counting:", "  5:", "'tasks.5.[key]' is 5, where text is expected"),
        ("  counting:", "  counting: 5\n  other:", "'tasks.counting' must be a mapping"),
        ("    config:", "    files: [a]\n    config:", "'tasks.counting.files' must be a mapping"),
        ("    config:", "    size: -1\n    config:", "'tasks.counting.size' is -1"),
        ("    config:", "    columns: 5\n    config:", "'tasks.counting.columns' must be a mapping"),
        ("    config:", "    columns: {a: 5}\n    config:", "the column 'a' is of the unknown kind '5'"),
        ("    config:", "    packaged: none.yaml\n    config:", "none.yaml cannot be read"),
        ("  counting:", "  'counting_{language}':", "one for each of its languages, and it names none"),
    ],
)
def test_a_broken_benchmark_is_refused_by_key(tmp_path, old, new, message):
    (tmp_path / "benchmark.yaml").write_text((DEFINITION % "?").replace(old, new))
    with pytest.raises(InputError, match=re.escape(message)):
        read_benchmark(tmp_path)


MATH = "tasks: {math: {benchmarks: [gsm8k_cot]}}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (MATH, "the key 'name' is required and missing"),
        (f"name: 5\n{MATH}", "'name' is 5, where text is expected"),
        ("name: s\ntasks: [math]", "'tasks' must be a mapping"),
        ("name: s\ntasks: {}", "'tasks' is {}"),
        ("name: s\ntasks: {5: {benchmarks: [gsm8k_cot]}}", "'tasks.5.[key]' is 5, where text is expected"),
        (f"name: s\n1: x\nb: y\n{MATH}", "is unknown; known are name, title, tasks"),
        (f"name: s\ninclude: 5\n{MATH}", "'include' is 5, where a list is expected"),
        (f"name: s\ninclude: nothing.yaml\n{MATH}", "nothing.yaml cannot be read"),
        (
            "name: s\ntasks: {a: {benchmarks: [gsm8k]}, b: {benchmarks: [gsm8k]}}",
            "suite.yaml: suite s: benchmark gsm8k is named twice",
        ),
        (f"name: s\nforgetting: [gsm8k_cot]\n{MATH}", "benchmark gsm8k_cot is named twice"),
        ("name: s\ntasks: {average: {benchmarks: [gsm8k]}}", "a task cannot be called 'average'"),
        ("name: s\ntasks: {math: {benchmarks: [gsm9k]}}", "There is no benchmark 'gsm9k'"),
        ("name: s\ntasks: {math: {benchmarks: gsm8k}}", "'tasks.math.benchmarks' is 'gsm8k'"),
        ("name: s\ntasks: {math: {benchmark: [gsm8k_cot]}}", "the key 'tasks.math.benchmark' is unknown"),
        (
            "name: s\ntasks: {math: {benchmarks: [gsm8k_cot], trainig: {}}}",
            "the key 'tasks.math.trainig' is unknown",
        ),
        (
            "name: s\ntasks: {math: {benchmarks: [lab_math], validation: 5}}",
            "'tasks.math.validation' is 5, where a list is expected",
        ),
        *(
            (
                f"name: s\ntasks: {{math: {{benchmarks: [lab_math], training: {value}}}}}",
                f"'tasks.math.training' is {said}, where a list is expected",
            )
            for value, said in (("0", "0"), ("false", "False"), ("''", "''"))
        ),
        (
            f"name: s\ntasks: {{{'m' * 201}: {{benchmarks: [lab_math]}}}}",
            "where a text of at most 200 characters is expected",
        ),
        ("name: s\ntasks: {'': {benchmarks: [lab_math]}}", "where a text that is not empty is expected"),
        (
            "name: s\ntasks: {math: {benchmarks: [lab_math], training: {split: train}}}",
            "the key 'tasks.math.training.prompt' is required and missing",
        ),
        (
            "name: s\ntasks: {math: {benchmarks: [lab_math], validation_split: test}}",
            "The split 'test' is the one that lab_math is scored on",
        ),
        (
            f"name: s\npresets: {{p: {{limits: {{gsm9k: 1}}}}}}\n{MATH}",
            "limits 'gsm9k', which is no benchmark of the suite",
        ),
        (
            f"name: s\npresets: {{p: {{limit: '100'}}}}\n{MATH}",
            "'presets.p.limit' is '100', where a whole number is expected",
        ),
        (
            f"name: s\npresets: {{p: {{limit: {10**24}}}}}\n{MATH}",
            "a whole number has 80 bits; 64 are read at most",
        ),
        (f"name: s\npresets: [p]\n{MATH}", "'presets' must be a mapping"),
        (f"name: s\npresets: {{p: {{limt: 1}}}}\n{MATH}", "the key 'presets.p.limt' is unknown"),
        (f"name: s\ntask: {{}}\n{MATH}", "the key 'task' is unknown"),
        (
            "name: s\ntasks: {q: {benchmarks: [glue_sst2_generated], "
            "validation: {benchmark: glue_sst2_generated, split: validation}}}",
            "the task 'q' chooses by the split that glue_sst2_generated is scored on",
        ),
        (
            "name: s\ntasks: {q: {benchmarks: [glue_sst2], training: {prompt: '', completion: '', "
            "hub: nyu-mll/glue, hub_config: sst2, split: validation}}}",
            "the task 'q' trains on the split that glue_sst2 is scored on",
        ),
    ],
)
def test_a_broken_suite_is_refused_by_key(tmp_path, content, message):
    path = tmp_path / "suite.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=re.escape(message)):
        load_suite(str(path))


def test_an_included_file_is_merged_key_by_key(tmp_path):
    (tmp_path / "suite.yaml").write_text(
        f"include: {tasks_folder()}/suites/lab.yaml\nname: mine\n"
        "tasks: {math: {validation: {start: 5}}}\nforgetting: []\n"
    )
    mine, lab = load_suite(str(tmp_path / "suite.yaml")), load_suite("lab")
    assert (mine.name, mine.title, list(mine.tasks), mine.forgetting) == (
        "mine", lab.title, list(lab.tasks), (),
    )  # fmt: skip
    assert mine.tasks["math"].validation[0] == lab.tasks["math"].validation[0].but(start=5)
    assert mine.tasks["safety"] == lab.tasks["safety"]


def test_a_language_of_a_benchmark_is_a_benchmark_by_name():
    benchmark = load_benchmark("m_arc_ar")
    assert [task.name for task in benchmark.tasks] == ["arc_ar"]
    assert benchmark.tasks[0].files == {"test": "m_arc/test_ar.jsonl"}
    assert benchmark.definition_digest != load_benchmark("m_arc_zh").definition_digest
    assert [task.name for task in load_benchmark("m_arc").tasks] == ["arc_fr", "arc_es", "arc_de", "arc_ru"]
    with pytest.raises(InputError, match="There is no benchmark 'm_arc_xx'; m_arc is there in ar, bn, "):
        load_benchmark("m_arc_xx")


def test_the_papers_preset_limits_five_and_keeps_xstest_and_forgetting_whole(data):
    preset = load_suite("metis").preset("paper")
    settings = ScoreSettings(limit=preset.limit, seed=preset.seed, limits=preset.limits)
    limits = {
        benchmark.name: settings.limit_of(benchmark.name) for benchmark in load_suite("metis").benchmarks
    }
    five = ("ifeval", "gsm8k_cot", "m_mmlu", "m_arc", "m_hellaswag")
    assert limits == dict.fromkeys(five, 100) | dict.fromkeys(("xstest", "coqa", "pubmedqa"))
    (xstest,) = load_benchmark("xstest").tasks
    rows = load_rows(xstest, data)
    assert len({row["type"] for row in rows.splits["test"][:100]}) == 4
    assert len(prompts_of(xstest, rows, settings.seed, settings.limit_of("xstest"))) == 450
    assert settings.seed == 42
    with pytest.raises(InputError, match="The suite metis has no preset 'papers'; it has paper"):
        load_suite("metis").preset("papers")


@pytest.mark.parametrize("suite", ["divmerge-glue", "divmerge-t5"])
def test_examples_for_training_look_as_the_benchmarks_questions_do(suite, data):
    found = 0
    for task in load_suite(suite).tasks.values():
        try:
            training, validation = (load_examples(of, data) for of in (task.training, task.validation))
        except NoDataError:
            continue
        (evaluated,) = task.benchmarks[0].tasks
        shown = prompts_of(evaluated, load_rows(evaluated, data), seed=0, limit=1)[0]
        assert training[0][0].split("\n")[0].split(":")[0] == shown.prompt.split("\n")[0].split(":")[0]
        assert training[0][1].startswith(" ") or suite == "divmerge-t5"
        assert len(validation) == 400 < len(training)
        found += 1
    assert found


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(InputError, match=r"no benchmark 'gsm'\. The nearest names are mgsm, gsm8k"):
        load_benchmark("gsm")
    with pytest.raises(InputError, match=r"no suite 'metiss'; there are .*lab, metis"):
        load_suite("metiss")


@pytest.mark.parametrize(
    "change",
    [
        {"output_type": 5},
        {"metric_list": 5},
        {"filter_list": 5},
        {"generation_kwargs": 5},
        {"num_fewshot": "x"},
        {"fewshot_config": 5},
        {"metadata": 5},
        {"process_docs": "x"},
    ],
)
def test_a_configuration_that_lm_eval_cannot_read_is_refused_by_the_tasks_name(change):
    (task,) = load_benchmark("lab_math").tasks
    broken = replace(task, config={**task.config, **change})
    with pytest.raises(InputError, match="lab_math cannot ask its rows"):
        prompts_of(broken, load_rows(task, None), seed=0, limit=1)


def changed(tmp_path, **entry):
    path = tmp_path / "own.yaml"
    path.write_text(
        json.dumps({"name": "own", "title": "t", "tasks": {"a": {"benchmarks": [entry, "gsm8k"]}}})
    )
    return load_suite(str(path)).tasks["a"].benchmarks


def test_a_suite_may_cut_answers_and_say_the_worked_examples_of_a_benchmark(tmp_path):
    whole, (short, other) = (
        load_benchmark("ifeval"),
        changed(tmp_path, benchmark="ifeval", max_new_tokens=320),
    )
    (own,), (cut,) = whole.tasks, short.tasks
    assert own.config["generation_kwargs"] == cut.config["generation_kwargs"] | {"max_gen_toks": 1280}
    assert cut.config["generation_kwargs"]["max_gen_toks"] == 320
    assert short.name == "ifeval" and short.definition_digest != whole.definition_digest
    assert other.definition_digest == load_benchmark("gsm8k").definition_digest
    longer, _ = changed(tmp_path, benchmark="ifeval", max_new_tokens=9999)
    assert longer.definition_digest == whole.definition_digest
    shots, _ = changed(tmp_path, benchmark="gsm8k_cot", num_fewshot=2)
    assert shots.num_fewshot == (2,)
    likelihoods, _ = changed(tmp_path, benchmark="arc_easy", max_new_tokens=5)
    assert likelihoods.definition_digest == load_benchmark("arc_easy").definition_digest


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"benchmark": "ifevil"}, "ifeval"),
        ({"benchmark": "ifeval", "max_tokens": 3}, "the key 'max_tokens' is unknown"),
        ({"benchmark": "ifeval", "max_new_tokens": 0}, "'max_new_tokens' is 0"),
    ],
)
def test_a_wrong_change_of_a_benchmark_is_refused(tmp_path, entry, says):
    with pytest.raises(InputError, match=says):
        changed(tmp_path, **entry)
