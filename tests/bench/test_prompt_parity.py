"""What our registry asks is, character by character, what lm-eval's own TaskManager asks of the same rows."""

import json
from pathlib import Path

import pytest
import yaml
from lm_eval.tasks import TaskManager

from bench.data import load_rows
from bench.definition import filled, packaged_tasks, tasks_folder
from bench.hub import NoDataError
from bench.prompts import prompts_of
from bench.score_settings import ScoreSettings
from bench.suite import benchmark_names, load_benchmark
from results.reading import StrictLoader, read_yaml

DOCUMENTS = 50
BY_NAME = {"m_arc": ("ar", "zh"), "m_mmlu": ("ar",), "global_mmlu": ("en", "sw")}


class AnyTag(StrictLoader):
    """Reads definitions without resolving the functions that they name."""


AnyTag.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))


def packaged_tasks_of_ours():
    """(benchmark, lm-eval task, file that lm-eval ships) of every task that we take from lm-eval."""
    found = []
    for name in benchmark_names():
        content = read_yaml(tasks_folder() / name / "benchmark.yaml", AnyTag)
        for task, definition in content["tasks"].items():
            if "packaged" in (definition or {}):
                of_all = [""] if "languages" not in content else content["languages"]["default"]
                found += [
                    (name, filled(task, language=one), filled(definition["packaged"], language=one))
                    for one in of_all
                ]
                found += [
                    (
                        f"{name}_{one}",
                        filled(task, language=one),
                        filled(definition["packaged"], language=one),
                    )
                    for one in BY_NAME.get(name, ())
                ]
    return found


def asked_by_lm_eval(name, packaged, rows, folder):
    """(prompt, target, choices) of each document, from a task that includes the packaged file."""
    files = {split: str(folder / f"{split}.jsonl") for split in rows.splits}
    for split, content in rows.splits.items():
        lines = [json.dumps(row, ensure_ascii=False) for row in content]
        Path(files[split]).write_text("\n".join(lines))
    definition = {
        "include": str(packaged_tasks() / packaged),
        "task": f"theirs_{name}",
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": files},
        # lm-eval opens every split that is named; only those that are read are there.
        "training_split": "train" if "train" in files else None,
        "fewshot_split": "train" if "train" in files else None,
        "validation_split": next((split for split in files if split.startswith("val")), None),
    }
    (folder / f"theirs_{name}.yaml").write_text(yaml.safe_dump(definition))
    manager = TaskManager(include_defaults=False, include_path=str(folder))
    task = manager.load([f"theirs_{name}"])["tasks"][f"theirs_{name}"]
    task.set_fewshot_seed(ScoreSettings().seed)
    task.build_all_requests(limit=DOCUMENTS, rank=0, world_size=1)
    asked = {}
    for request in task.instances:
        asked.setdefault(request.doc_id, []).append(request)
    return [
        (
            requests[0].args[0],
            task.doc_to_target(requests[0].doc),
            tuple(request.args[1] for request in requests) if task.OUTPUT_TYPE == "multiple_choice" else (),
        )
        for _, requests in sorted(asked.items())
    ]


@pytest.mark.parametrize(("benchmark", "name", "packaged"), packaged_tasks_of_ours())
def test_prompts_targets_and_choices_are_lm_evals(benchmark, name, packaged, data, tmp_path):
    task = next(one for one in load_benchmark(benchmark).tasks if one.name == name)
    try:
        rows = load_rows(task, data)
    except NoDataError:
        pytest.skip(f"{benchmark} has no local rows")
    ours = prompts_of(task, rows, ScoreSettings().seed, limit=DOCUMENTS)
    assert [(one.prompt, one.target, one.choices) for one in ours] == asked_by_lm_eval(
        name, packaged, rows, tmp_path
    )
    assert len(ours) == min(DOCUMENTS, len(rows.splits[task.scored_split]))


def test_pubmedqa_is_asked_as_lm_eval_asks_its_own_copy(data):
    """lm-eval's task reads another set, with other names of columns, by a script that is no longer run."""
    from lm_eval.tasks.pubmedqa.preprocess_pubmedqa import doc_to_text

    (task,) = load_benchmark("pubmedqa").tasks
    for asked in prompts_of(task, load_rows(task, data), ScoreSettings().seed, limit=DOCUMENTS):
        row = {"CONTEXTS": asked.doc["context"]["contexts"], "QUESTION": asked.doc["question"]}
        assert asked.prompt == doc_to_text(row)
        assert asked.choices == (" yes", " no", " maybe")
