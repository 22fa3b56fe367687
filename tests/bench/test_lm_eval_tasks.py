"""Any task of lm-eval is a benchmark: found by name, and scored as lm-eval scores it."""

import time
from dataclasses import replace

import pytest
import yaml
from lm_eval_folder import CHOICES, write_folder, write_rows, write_task
from tiny import tiny_llama

from bench.data import load_rows
from bench.definition import packaged_tasks
from bench.engine import EngineSettings
from bench.lm_eval_tasks.benchmarks import LmEvalBenchmark, LmEvalTasks
from bench.lm_eval_tasks.files import _reference, code_digest
from bench.model_code import refuse_model_code
from bench.score_settings import ScoreSettings
from bench.scored_checkpoint import ScoredCheckpoint
from bench.scoring import Scorer
from bench.suite import load_benchmark, load_suite
from results.errors import InputError
from results.record import CheckpointIdentity
from results.store import Store

IDENTITY = CheckpointIdentity(weights="w", config="c", tokenizer="t")
FLOAT32 = EngineSettings(name="hf", dtype="float32", device="cpu")


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return tiny_llama(tmp_path_factory.mktemp("llama"), width=64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("own") / "tasks")


def ours(llama, store, benchmarks, root=None, **settings):
    scorer = Scorer(ScoreSettings(engine=FLOAT32, **settings), Store(store), root)
    return {one.name: scorer.score(ScoredCheckpoint("tiny", llama, IDENTITY), one) for one in benchmarks}


def theirs(llama, names, folder, **settings):
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    return simple_evaluate(
        model=HFLM(pretrained=str(llama), dtype="float32", device="cpu", batch_size=4),
        tasks=names,
        task_manager=TaskManager(include_defaults=False, include_path=str(folder)),
        bootstrap_iters=0,
        **settings,
    )


def scores(results):
    """Every metric of lm-eval's results but the standard errors."""
    return {
        f"{task}/{name}": pytest.approx(value, abs=1e-9)
        for task, metrics in results["results"].items()
        for name, value in metrics.items()
        if "," in name and "stderr" not in name
    }


def test_names_are_lm_evals_and_the_rule_chooses_the_metric():
    found = {one.name: one for one in LmEvalTasks().benchmarks(["piqa", "gsm8k", "cola", "mmlu", "ai2_arc"])}
    assert list(found) == ["piqa", "gsm8k", "cola", "mmlu", "arc_challenge", "arc_easy"]
    assert {name: (one.metric, one.filter) for name, one in found.items()} == {
        "piqa": ("acc_norm", "none"),
        "gsm8k": ("exact_match", "strict-match"),
        "cola": ("mcc", "none"),
        "mmlu": ("acc", "none"),
        "arc_challenge": ("acc_norm", "none"),
        "arc_easy": ("acc_norm", "none"),
    }
    assert (found["piqa"].chance, found["mmlu"].chance, found["arc_easy"].chance) == (0.5, 0.25, 0.0)
    assert (len(found["mmlu"].tasks), found["mmlu"].weighs_documents_equally) == (57, True)
    assert found["gsm8k"].num_fewshot == (5,)


def test_a_task_that_is_registered_too_has_the_same_record_and_rows():
    (arc,) = LmEvalTasks().benchmarks(["arc_easy"])
    registered = load_benchmark("arc_easy")
    assert arc.definition_digest == registered.definition_digest
    assert arc.tasks[0].files == registered.tasks[0].files


def test_an_unknown_name_gives_the_nearest_first():
    tasks = LmEvalTasks()
    with pytest.raises(
        InputError, match=r"There is no task 'arc_esay' in lm-eval. The nearest names are arc_easy,"
    ):
        tasks.benchmarks(["arc_esay"])
    with pytest.raises(
        InputError, match=r"There is no benchmark 'arc_esay'. The nearest name is arc_easy[^g]*list"
    ):
        load_benchmark("arc_esay")


def test_the_names_are_read_from_the_cache_in_a_moment(folder):
    LmEvalTasks()
    started = time.process_time()
    LmEvalTasks()
    assert time.process_time() - started < 3
    before = set(LmEvalTasks([folder])._index)
    write_task(folder, "later", task="later", **CHOICES)
    assert set(LmEvalTasks([folder])._index) - before == {"later"}  # a changed folder is read again
    (folder / "later.yaml").unlink()


def test_scores_of_own_tasks_and_groups_are_lm_evals(llama, folder, tmp_path):
    benchmarks = LmEvalTasks([folder]).benchmarks(["both", "sized", "plain", "loose"])
    assert [one.name for one in benchmarks] == ["colour", "fruit", "sized", "plain"]
    scored = ours(llama, tmp_path, benchmarks)
    for names, metric in ((["both"], None), (["sized"], "acc,none"), (["plain"], "acc_norm,none")):
        reference = scores(theirs(llama, names, folder))
        if metric:
            record = scored[names[0]].record
            assert record.metrics == reference
            assert record.value == reference[f"{names[0]}/{metric}"]
        else:
            assert scored["fruit"].record.metrics | scored["colour"].record.metrics == reference
    sized, plain = scored["sized"].record, scored["plain"].record
    assert (sized.n, plain.n) == (19, 19)
    assert sized.value != sum(sized.metrics[f"{task}/acc,none"] for task in ("fruit", "colour")) / 2
    documents = Store(tmp_path).documents(sized)
    assert documents.groupby("subtask").size().to_dict() == {"fruit": 14, "colour": 5}


def test_worked_examples_and_a_share_of_the_documents_are_lm_evals_and_in_the_key(llama, folder, tmp_path):
    (fruit,) = LmEvalTasks([folder]).benchmarks(["fruit"])
    with_two = fruit.with_fewshot(2)
    scored = ours(llama, tmp_path, [with_two], limit=0.4)["fruit"]
    assert scored.record.n == 6  # of 14, rounded up
    assert scored.record.metrics == scores(theirs(llama, ["fruit"], folder, num_fewshot=2, limit=0.4))
    assert Store(tmp_path).documents(scored.record)["prompt"][0].count("Question :") == 3
    assert not ours(llama, tmp_path, [fruit], limit=0.4)["fruit"].found
    assert ours(llama, tmp_path, [with_two], limit=0.4)["fruit"].found


@pytest.mark.parametrize("metric", ["word_perplexity", "byte_perplexity", "bits_per_byte"])
def test_perplexities_of_whole_texts_are_lm_evals(llama, folder, tmp_path, metric):
    files = {"test": str(folder / "fruit.jsonl")}
    text = {
        **CHOICES, "task": "text", "output_type": "loglikelihood_rolling", "doc_to_text": "",
        "doc_to_choice": None, "doc_to_target": "{{question}} how many {{question}}",
        "metric_list": [{"metric": metric}], "dataset_kwargs": {"data_files": files},
    }  # fmt: skip
    write_task(tmp_path, "text", **text)
    (benchmark,) = LmEvalTasks([tmp_path]).benchmarks(["text"])
    record = ours(llama, tmp_path / "store", [benchmark])["text"].record
    reference = theirs(llama, ["text"], tmp_path)["results"]["text"][f"{metric},none"]
    assert record.value == pytest.approx(reference, rel=1e-5)
    assert not benchmark.higher_is_better
    documents = Store(tmp_path / "store").documents(record)
    assert documents["score"].nunique() > 5
    assert record.value != pytest.approx(documents["score"].mean(), rel=1e-9)


def test_rows_of_a_local_root_are_asked_by_lm_evals_name(llama, tmp_path):
    (piqa,) = LmEvalTasks().benchmarks(["piqa"])
    root = tmp_path / "data"
    root.mkdir()
    with pytest.raises(
        InputError, match=r"lm_eval/piqa/validation.jsonl does not exist; on the hub: baber/piqa"
    ):
        ours(llama, tmp_path / "store", [piqa], root)
    questions = [{"goal": f"how many {n}", "sol1": "yes", "sol2": "no", "label": n % 2} for n in range(5)]
    write_rows(root / "lm_eval/piqa/validation.jsonl", questions)
    scored = ours(llama, tmp_path / "store", [piqa], root, limit=3)["piqa"]
    assert (scored.record.n, scored.record.metric) == (3, "acc_norm")
    assert ours(llama, tmp_path / "store", [piqa], root, limit=3)["piqa"].found
    write_rows(root / "lm_eval/piqa/validation.jsonl", questions[1:])
    assert not ours(llama, tmp_path / "store", [piqa], root, limit=3)["piqa"].found


PACKAGED = {  # file of the packaged task, and splits with rows at hand, the scored one first
    "hellaswag": ("hellaswag/hellaswag.yaml", ("validation",)),
    "gsm8k": ("gsm8k/gsm8k.yaml", ("test", "train")),
    "xcopa_it": ("xcopa/default_it.yaml", ("test", "validation")),
    "rte": ("glue/rte/default.yaml", ("validation",)),
    "cola": ("glue/cola/default.yaml", ("validation",)),
    "arc_easy": ("arc/arc_easy.yaml", ("test",)),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [
        *((name, 0, 8) for name in PACKAGED if name != "gsm8k"),
        ("arc_easy", 2, 8),
        ("gsm8k", 0, 2),
        ("gsm8k", 1, 2),
    ],
)
def test_packaged_tasks_on_real_rows_score_as_in_lm_eval(llama, data, tmp_path, case):
    name, shots, limit = case
    file, splits = PACKAGED[name]
    (benchmark,) = LmEvalTasks().benchmarks([name])
    (task,) = benchmark.tasks
    local = {}
    for split in splits:
        asked = replace(task, config={**task.config, "test_split": split, "num_fewshot": 0})
        first = list(load_rows(asked, data).splits[split])[:100]
        local[split] = str(write_rows(tmp_path / f"{split}.jsonl", first))
    absent = {
        f"{use}_split": None
        for use in ("training", "validation")
        if task.config.get(f"{use}_split") not in local
    }
    (tmp_path / "tasks").mkdir()
    write_task(
        tmp_path / "tasks", name, include=str(packaged_tasks() / file), task=name, dataset_path="json",
        dataset_name=None, dataset_kwargs={"data_files": local}, num_fewshot=shots or None, **absent,
    )  # fmt: skip
    own = LmEvalTasks([tmp_path / "tasks"]).benchmarks([name])
    scored = ours(llama, tmp_path / "store", own, limit=limit)[name].record
    assert scored.n == limit
    assert scored.metrics == scores(theirs(llama, [name], tmp_path / "tasks", limit=limit))
    if shots == 0:  # the same from the data root by the packaged name
        again = ours(llama, tmp_path / "store", [benchmark.with_fewshot(0)], data, limit=limit)[name]
        assert not again.found
        assert again.record.metrics == scored.metrics


def test_python_of_a_users_folder_runs_only_where_it_is_trusted(llama, folder, tmp_path, monkeypatch):
    own = tmp_path / "own"
    own.mkdir()
    files = {"test": str(folder / "fruit.jsonl")}
    (own / "utils.py").write_text("def ask_f(doc):\n    return 'A ' + doc['question']\n")
    write_task(own, "asked", **{**CHOICES, "task": "asked", "dataset_kwargs": {"data_files": files},
                               "doc_to_text": "!function utils.ask_f"})  # fmt: skip
    with pytest.raises(
        InputError, match=r"The task asked \(.*asked.yaml\) runs Python .*utils.ask_f.*--trust-task-code"
    ):
        LmEvalTasks([own]).benchmarks(["asked"])
    before = LmEvalTasks([own], trust_task_code=True).benchmarks(["asked"])
    scored = ours(llama, tmp_path / "store", before)["asked"]
    assert Store(tmp_path / "store").documents(scored.record)["prompt"][0].startswith("A ")


def test_changed_code_of_a_trusted_folder_makes_another_definition(folder, tmp_path):
    digests = []
    for word in ("A", "B", "B"):
        (tmp_path / "utils.py").write_text(f"def ask_f(doc):\n    return '{word}'\n")
        write_task(tmp_path, "asked", **{**CHOICES, "task": "asked", "doc_to_text": "!function utils.ask_f"})
        code_digest.cache_clear()
        (asked,) = LmEvalTasks([tmp_path], trust_task_code=True).benchmarks(["asked"])
        digests.append(asked.definition_digest)
    assert digests[0] != digests[1] == digests[2]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"doc_to_text": "!function os.system_f"}, "os.system_f"),
        ({"metric_list": [{"metric": "./evil"}]}, "the metric ./evil"),
        ({"metric_list": [{"metric": "acc", "hf_evaluate": True}]}, "the metric acc"),
        ({"dataset_path": "pandas"}, "the data set 'pandas'"),
    ],
)
def test_what_would_run_code_in_other_ways_is_refused_too(tmp_path, config, message):
    write_task(tmp_path, "evil", **{**CHOICES, "task": "evil", **config})
    with pytest.raises(InputError, match="--trust-task-code") as refused:
        LmEvalTasks([tmp_path]).benchmarks(["evil"])
    assert message in str(refused.value)


def test_templates_are_run_in_a_sandbox(llama, folder, tmp_path):
    template = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
    files = {"test": str(folder / "fruit.jsonl")}
    write_task(
        tmp_path,
        "sly",
        **{**CHOICES, "task": "sly", "dataset_kwargs": {"data_files": files}, "doc_to_text": template},
    )
    with pytest.raises(InputError, match="SecurityError"):
        ours(llama, tmp_path / "store", LmEvalTasks([tmp_path]).benchmarks(["sly"]))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("squadv2", "The task squadv2 is a Python class"),
        ("wmt16-de-en", "The metric bleu of the task wmt16-de-en is no mean over documents"),
        ("mmmu_val_math", "shows pictures"),
        ("nothing_like_*", "No task of lm-eval has a name like 'nothing_like_*'"),
    ],
)
def test_what_cannot_be_scored_is_said_before_anything_is_read(name, message):
    with pytest.raises(InputError) as refused:
        LmEvalTasks().benchmarks([name])
    assert message in str(refused.value)


def test_code_that_a_model_writes_runs_only_where_the_user_says_so(monkeypatch):
    coding = LmEvalTasks().benchmarks(["humaneval", "mbpp"])
    assert [one.metric for one in coding] == ["pass@1", "pass_at_1"]
    monkeypatch.delenv("HF_ALLOW_CODE_EVAL", raising=False)
    confirmed = ScoreSettings(confirm_run_unsafe_code=True)
    for settings in (ScoreSettings(), confirmed):
        with pytest.raises(
            InputError, match=r"humaneval, mbpp: code .* --confirm-run-unsafe-code and HF_ALLOW"
        ):
            refuse_model_code(coding, settings)
    monkeypatch.setenv("HF_ALLOW_CODE_EVAL", "1")
    refuse_model_code(coding, confirmed)


def suite(tmp_path, *benchmarks):
    path = tmp_path / "suite.yaml"
    path.write_text(yaml.safe_dump({"name": "s", "tasks": {"a": {"benchmarks": list(benchmarks)}}}))
    return load_suite(str(path))


def test_a_suite_names_a_task_in_one_line(tmp_path):
    piqa, gsm8k = suite(
        tmp_path,
        {"lm_eval": "piqa", "metric": "acc", "chance": 0.4, "higher_is_better": False, "num_fewshot": 3},
        {"lm_eval": "gsm8k", "filter": "flexible-extract"},
    ).benchmarks
    assert piqa.spec.model_dump() == {
        "name": "piqa",
        "metric": "acc",
        "higher_is_better": False,
        "chance": 0.4,
    }
    assert piqa.num_fewshot == (3,)
    assert gsm8k.definition_digest == load_benchmark("gsm8k").definition_digest
    changes = {"num_fewshot": 2, "max_new_tokens": 7}
    named, registered = suite(
        tmp_path,
        {"lm_eval": "gsm8k", "filter": "flexible-extract", **changes},
        {"benchmark": "gsm8k_cot", **changes},
    ).benchmarks
    assert named.definition_digest != gsm8k.definition_digest
    for one in (named, registered):
        assert one.num_fewshot == (2,)
        assert one.tasks[0].config["generation_kwargs"]["max_gen_toks"] == 7


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"lm_eval": "piqa", "metrik": "acc"}, "the key 'metrik' is unknown"),
        ({"lm_eval": "piqaa"}, "The nearest names are piqa"),
        ({"lm_eval": "piqa", "metric": "acc_nrm"}, "The task piqa has no metric 'acc_nrm': choose 'acc' or"),
        (
            {"lm_eval": "gsm8k", "filter": "typo"},
            "no filter 'typo': choose 'strict-match' or 'flexible-extract'",
        ),
        ({"lm_eval": "mmlu", "filter": "typo"}, "has no filter 'typo': choose 'none'"),
        ({"lm_eval": "wikitext"}, "cannot be compared by word_perplexity"),
        ({"lm_eval": "glue"}, "stands for 9 tasks of lm-eval without a mean"),
        ({"lm_eval": "piqa", "num_fewshot": -1}, "'num_fewshot' is -1"),
    ],
)
def test_a_broken_line_of_a_suite_is_refused(tmp_path, entry, message):
    with pytest.raises(InputError) as refused:
        suite(tmp_path, entry)
    assert message in str(refused.value)
    assert LmEvalBenchmark(lm_eval="piqa").metric is None


def test_a_users_group_cannot_make_a_packaged_task_run_code_or_pickles(tmp_path):
    overrides = [
        ({"metric_list": [{"metric": str(tmp_path / "evil.py"), "aggregation": "mean"}]}, "the metric /"),
        ({"dataset_path": "pandas"}, "the data set 'pandas'"),
    ]
    for given, message in overrides:
        write_task(tmp_path, "gg", group="gg", task=[{"task": "arc_easy", **given}])
        write_task(tmp_path, "around", group="around", task=[{"group": "gg"}])
        for name in ("gg", "around"):
            with pytest.raises(InputError, match=rf"arc_easy .*{message}.*--trust-task-code"):
                LmEvalTasks([tmp_path]).benchmarks([name])


@pytest.mark.parametrize("given", [["acc"], {"metric": "acc"}, [{"name": "acc"}]])
def test_a_list_of_metrics_that_is_none_is_refused(tmp_path, given):
    write_task(tmp_path, "bare", **{**CHOICES, "task": "bare", "metric_list": given})
    with pytest.raises(InputError, match=r"The task bare: .* in 'metric_list' is no mapping"):
        LmEvalTasks([tmp_path]).benchmarks(["bare"])


def test_a_link_to_nothing_is_passed_over(tmp_path):
    write_task(tmp_path, "bare", **{**CHOICES, "task": "bare"})
    (tmp_path / ".#bare.yaml").symlink_to("somebody@somewhere.123")
    (tmp_path / ".#utils.py").symlink_to("somebody@somewhere.123")
    (tmp_path / "utils.py").write_text("")
    (benchmark,) = LmEvalTasks([tmp_path]).benchmarks(["bare"])
    assert benchmark.name == "bare"
    assert len(code_digest(tmp_path)) == 64


def test_a_group_that_names_itself_is_refused(tmp_path):
    write_task(tmp_path, "rr", group="rr", task=["ss"])
    write_task(tmp_path, "ss", group="ss", task=[{"group": "rr"}])
    with pytest.raises(InputError, match="The group rr contains itself"):
        LmEvalTasks([tmp_path]).benchmarks(["rr"])


def test_members_that_a_group_gives_other_keys_have_names_of_their_own(tmp_path):
    write_task(tmp_path, "gg", group="gg", task=[{"task": "arc_easy", "num_fewshot": 3}, "piqa"])
    found = {one.name: one for one in LmEvalTasks([tmp_path]).benchmarks(["gg", "arc_easy"])}
    assert {name: one.num_fewshot for name, one in found.items()} == {
        "gg::arc_easy": (3,),
        "piqa": (0,),
        "arc_easy": (0,),
    }
    assert found["gg::arc_easy"].tasks[0].files == found["arc_easy"].tasks[0].files
    inner = [
        {"group": name, "task": [{"task": "piqa", "num_fewshot": n}]} for n, name in ((1, "a"), (2, "b"))
    ]
    write_task(tmp_path, "two", group="two", task=inner)
    for name in ("two", "two::piqa"):
        with pytest.raises(InputError, match="Two definitions of the task two::piqa"):
            LmEvalTasks([tmp_path]).benchmarks([name])


def test_a_member_of_a_group_is_asked_for_by_the_name_that_it_has(tmp_path):
    own = {**CHOICES, "task": "own"}
    inner = {"group": "inner", "task": [{"task": "arc_easy", "num_fewshot": 2}]}
    write_task(tmp_path, "gg", group="gg", task=[{"task": "boolq", "num_fewshot": 3}, "piqa", own, inner])
    tasks = LmEvalTasks([tmp_path])
    whole = {one.name: one for one in tasks.benchmarks(["gg"])}
    assert {"gg::boolq", "piqa", "gg::own", "gg::arc_easy"} == set(whole)
    for name, benchmark in whole.items():
        (alone,) = tasks.benchmarks([name])
        assert alone.name == name and alone.definition_digest == benchmark.definition_digest
        suites = tasks.benchmark(LmEvalBenchmark(lm_eval=name, num_fewshot=4))
        assert suites.name == name and suites.num_fewshot == (4,)
    (plain,) = tasks.benchmarks(["gg::piqa"])
    assert plain.name == "piqa"
    with pytest.raises(InputError, match=r"The group gg has no task 'boolqq'.* boolq"):
        tasks.benchmarks(["gg::boolqq"])


def definition_with(tmp_path, name, files):
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    code_digest.cache_clear()
    (one,) = LmEvalTasks([tmp_path / "own"], trust_task_code=True).benchmarks([name])
    return one.definition_digest


@pytest.mark.parametrize("file", ["utils.py", "installed_for_asking/text.py", "metric.py"])
def test_code_that_lies_elsewhere_is_in_the_definition(tmp_path, file, monkeypatch):
    (tmp_path / "own").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    function = {
        "utils.py": "utils.ask_f",
        "metric.py": "",
        "installed_for_asking/text.py": "installed_for_asking.text.ask_f",
    }[file]
    config = (
        {"doc_to_text": f"!function {function}"}
        if function
        else {"metric_list": [{"metric": str(tmp_path / file)}]}
    )
    write_task(tmp_path, "base", **{**CHOICES, **config})
    write_task(tmp_path / "own", "asked", include="../base.yaml", task="asked")
    digests = [
        definition_with(tmp_path, "asked", {file: f"def ask_f(doc):\n    return '{word}'\n"})
        for word in ("A", "B", "B")
    ]
    assert digests[0] != digests[1] == digests[2]


def test_a_function_of_an_installed_module_is_found():
    reference = _reference("textwrap.dedent", packaged_tasks(), None)
    assert reference.module.startswith("textwrap@")
    assert reference.resolve()(" a") == "a"
