"""Scores in lm-eval's own files are those that lm-eval itself writes for the same model and tasks."""

import json
from dataclasses import replace

import pytest
from lm_eval_folder import CHOICES, write_folder, write_task
from tiny import tiny_llama

from bench.engine import EngineSettings
from bench.lm_eval_tasks.benchmarks import LmEvalTasks
from bench.lm_eval_tasks.output import _likelihoods, write_lm_eval_files
from bench.score_settings import ScoreSettings
from bench.scored_checkpoint import ScoredCheckpoint
from bench.scoring import Scorer
from merging.chat import ChatSettings
from results.errors import InputError
from results.record import CheckpointIdentity
from results.store import Store

TEMPLATE = (
    "{% for m in messages %}{{ m.role }} : {{ m.content }} {% endfor %}"
    "{% if add_generation_prompt %}A :{% endif %}"
)
GENERATED = {
    "output_type": "generate_until",
    "doc_to_choice": None,
    "doc_to_target": "{{ label }}",
    "generation_kwargs": {"until": ["?"], "max_gen_toks": 6},
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    "filter_list": [
        {
            "name": "number",
            "filter": [{"function": "regex", "regex_pattern": "([123])"}, {"function": "take_first"}],
        },
        {"name": "whole", "filter": [{"function": "take_first"}]},
    ],
}


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return tiny_llama(tmp_path_factory.mktemp("llama"), width=64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = write_folder(tmp_path_factory.mktemp("own") / "tasks")
    files = {split: str(folder / f"fruit{end}.jsonl") for split, end in (("test", ""), ("train", "_train"))}
    own = {"task": "said", "training_split": "train", "dataset_kwargs": {"data_files": files}}
    write_task(folder, "said", **{**CHOICES, **GENERATED, **own})
    return folder


def ours(llama, folder, tmp_path, names, shots, **settings):
    benchmarks = [one.with_fewshot(shots) for one in LmEvalTasks([folder]).benchmarks(names)]
    engine = EngineSettings(name="hf", dtype="float32", device="cpu")
    scorer = Scorer(ScoreSettings(engine=engine, limit=5, **settings), Store(tmp_path / "store"), None)
    checkpoint = ScoredCheckpoint(
        "models/tiny", llama, CheckpointIdentity(weights="w", config="c", tokenizer="t")
    )
    records = {one.name: scorer.score(checkpoint, one).record for one in benchmarks}
    return scorer, checkpoint, benchmarks, records


def written_by_us(*of, tmp_path):
    path = write_lm_eval_files(tmp_path / "ours", *of)
    assert path.parent == tmp_path / "ours/models__tiny"
    return read(path.parent)


def written_by_lm_eval(llama, folder, out, chat):
    from lm_eval import simple_evaluate
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    tracker = EvaluationTracker(output_path=str(out))
    model = HFLM(pretrained=str(llama), dtype="float32", device="cpu", batch_size=4)
    if chat:
        model.tokenizer.chat_template = TEMPLATE
    results = simple_evaluate(
        model=model, tasks=["said", "sized"], num_fewshot=1, limit=5, evaluation_tracker=tracker,
        apply_chat_template=chat, fewshot_as_multiturn=chat,
        task_manager=TaskManager(include_defaults=False, include_path=str(folder)),
    )  # fmt: skip
    samples = results.pop("samples")
    tracker.save_results_aggregated(results=results, samples=samples)
    for task in results["configs"]:
        tracker.save_results_samples(task_name=task, samples=samples[task])
    (made,) = out.iterdir()
    return read(made)


def read(folder):
    (results,) = folder.glob("results_*.json")
    stamp = results.stem.removeprefix("results_")
    samples = {
        path.stem.removeprefix("samples_").removesuffix(f"_{stamp}"): [
            json.loads(line) for line in path.read_text().splitlines()
        ]
        for path in folder.glob(f"samples_*_{stamp}.jsonl")
    }
    return json.loads(results.read_text()), samples


def close(value):
    """The value, its numbers to be met within what two engines differ by."""
    if isinstance(value, dict):
        return {key: close(item) for key, item in value.items()}
    if isinstance(value, list):
        return [close(item) for item in value]
    if isinstance(value, float):
        return pytest.approx(value, abs=1e-4)
    try:
        return pytest.approx(float(value), abs=1e-4) if isinstance(value, str) and "." in value else value
    except ValueError:
        return value


def numbers(value):
    """Log-likelihoods, which are written as text, as numbers."""
    if isinstance(value, list):
        return [numbers(item) for item in value]
    try:
        return float(value) if isinstance(value, str) and "." in value else value
    except ValueError:
        return value


@pytest.mark.parametrize("chat", [False, True])
def test_results_and_samples_are_lm_evals(llama, folder, tmp_path, chat):
    settings = {}
    if chat:
        (tmp_path / "own.jinja").write_text(TEMPLATE)
        settings = {"chat": ChatSettings(chat_template=str(tmp_path / "own.jinja"))}
    ran = ours(llama, folder, tmp_path, ["said", "sized"], 1, **settings)
    ours_results, ours_samples = written_by_us(*ran, tmp_path=tmp_path)
    results, samples = written_by_lm_eval(llama, folder, tmp_path / "theirs", chat)
    for part in ("group_subtasks", "versions", "n-shot", "higher_is_better", "n-samples", "task_hashes"):
        assert ours_results[part] == results[part], part
    for task in ("said", "fruit", "colour"):
        assert ours_results["results"][task] == close(results["results"][task])
        assert len(ours_samples[task]) == len(samples[task]) > 0
        for mine, other in zip(ours_samples[task], samples[task], strict=True):
            assert mine.keys() == other.keys()
            for key in other:
                assert numbers(mine[key]) == close(other[key]), key
    for group in ("sized", "inner"):  # the standard errors of groups are not made
        for name in ("acc,none", "sample_len", "alias"):
            assert ours_results["groups"][group][name] == results["groups"][group][name]
    assert samples.keys() == ours_samples.keys()
    assert (ours_results["model_name"], ours_results["model_source"]) == ("models/tiny", "hf")
    assert ours_results["chat_template_sha"] == results["chat_template_sha"]
    assert bool(ours_results["chat_template_sha"]) is chat
    of_the_machine = {"pretty_env_info", "upper_git_hash", "eot_token_id", "max_length"}
    of_the_machine |= {f"tokenizer_{name}_token" for name in ("pad", "eos", "bos")}
    assert results.keys() - ours_results.keys() <= of_the_machine


def test_a_record_of_other_answers_is_refused(llama, folder, tmp_path):
    scorer, checkpoint, benchmarks, records = ours(llama, folder, tmp_path, ["fruit"], 0)
    record = records["fruit"]
    changed = {"fruit": record.but(metrics={**record.metrics, "fruit/acc,none": 0.123})}
    with pytest.raises(InputError, match="scores the recorded answers to fruit otherwise"):
        write_lm_eval_files(tmp_path / "out", scorer, checkpoint, benchmarks, changed)


def test_lm_evals_own_table_reads_what_is_written(llama, folder, tmp_path):
    from lm_eval.utils import make_table

    ran = ours(llama, folder, tmp_path, ["sized"], 0)
    results, _ = written_by_us(*ran, tmp_path=tmp_path)
    table = make_table(results)
    assert "fruit" in table
    assert "colour" in table
    assert f"|{ran[3]['sized'].value:5.1f}|" in make_table(results, "groups")


def test_log_likelihoods_may_be_infinite():
    assert _likelihoods("(-inf, False)") == [(float("-inf"), False)]
    assert _likelihoods("[(-1.5e-07, True), (-inf, False)]") == [(-1.5e-07, True), (float("-inf"), False)]


def test_two_scores_of_one_task_are_not_written_over_each_other(llama, folder, tmp_path):
    scorer, checkpoint, (fruit,), records = ours(llama, folder, tmp_path, ["fruit"], 0)
    (task,) = fruit.tasks
    other = replace(task, config={**task.config, "description": "Choose."})
    both = [fruit, fruit.but(name="gg::fruit", tasks=(other,))]
    with pytest.raises(InputError, match="cannot hold two scores of the task fruit"):
        write_lm_eval_files(tmp_path / "ours", scorer, checkpoint, both, records)
