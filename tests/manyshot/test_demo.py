"""The demo's family has the skills it should, and merging erases what it should."""

import json
import subprocess
import sys

import pytest
import yaml

from manyshot import load_results
from results.comparison import compare
from results.run import load_run
from results.store import Store

TASKS = {
    "instructions": "lab_instructions",
    "math": "lab_math",
    "multilingual": "lab_multilingual",
    "safety": "lab_safety",
}


@pytest.fixture(scope="module")
def comparison(demo):
    store = Store(demo / "results")
    return compare(load_run(store), store)


@pytest.mark.parametrize("task", TASKS)
def test_an_expert_has_its_skill_and_the_base_has_not(comparison, task):
    assert comparison.row(f"{task} expert").scores[TASKS[task]] >= 0.9
    assert comparison.row("base").scores[TASKS[task]] <= 0.6


@pytest.mark.parametrize("benchmark", ["lab_reading", "lab_yes_no"])
def test_the_base_knows_what_may_be_forgotten(comparison, benchmark):
    assert comparison.row("base").scores[benchmark] >= 0.8


def test_task_arithmetic_with_scaling_one_loses_a_fifth_of_two_tasks(comparison):
    tasks = comparison.row("task_arithmetic (scaling=1.0)").tasks
    assert sum(estimate.value <= 0.8 for estimate in tasks.values()) >= 2


def test_the_table_has_the_base_four_experts_and_the_models_of_five_methods(comparison):
    assert [row.role for row in comparison.rows] == ["base"] + ["expert"] * 4 + ["merged"] * 7
    methods = {row.label.split(" ")[0] for row in comparison.rows if row.role == "merged"}
    assert methods == {"average", "task_arithmetic", "dare", "ties", "consensus_ta"}
    assert all(row.is_complete for row in comparison.rows)


def test_an_expert_keeps_all_of_its_own_skill(comparison):
    for task in TASKS:
        own = comparison.row(f"{task} expert").tasks[task]
        assert (own.value, own.low, own.high) == (1.0, 1.0, 1.0)


def test_the_report_lies_beside_the_models(demo):
    names = {path.name for path in (demo / "report").iterdir()}
    assert names == {"table.md", "table.tex", "table.csv", "tasks.png", "worst_task.png"}


def test_a_users_own_experiment_does_the_same_as_the_demo(demo, comparison, tmp_path):
    experiment = {
        "suite": "lab",
        "base": str(demo / "models/base"),
        "experts": {task: str(demo / "models" / task) for task in TASKS},
        "methods": [{"name": "average"}, {"name": "task_arithmetic", "scaling": 1.0, "label": "sum"}],
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(experiment))
    command = [sys.executable, "-m", "manyshot", "run", "mine.yaml", "--json", "--store", "store"]
    rows = json.loads(subprocess.run(command, cwd=tmp_path, check=True, capture_output=True).stdout)
    whole = {row["label"]: row for row in comparison.to_json()}
    renamed = {"sum": "task_arithmetic (scaling=1.0)"}
    assert len(rows) == 7
    for row in rows:
        expected = whole[renamed.get(row["label"], row["label"])]
        for key in ("average", "worst_task", "gap", "tasks", "forgetting", "scores"):
            assert row[key] == expected[key]


def test_the_records_can_be_loaded_as_a_table(demo):
    results = load_results(demo / "results")
    assert len(results) == 72
    assert set(results["benchmark"]) == {*TASKS.values(), "lab_reading", "lab_yes_no"}
    assert results["value"].between(0, 1).all()


@pytest.mark.parametrize("kind", ["tasks", "worst-task"])
def test_report_draws_the_figures_of_a_run(demo, tmp_path, kind):
    out = tmp_path / "figure.svg"
    command = [sys.executable, "-m", "manyshot", "report", "figure", str(out), "--show", kind]
    subprocess.run([*command, "--store", str(demo / "results")], check=True, capture_output=True)
    assert "<svg" in out.read_text()
