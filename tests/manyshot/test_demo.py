"""The demo's family has the skills it should, and merging erases what it should."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import yaml

from manyshot import load_results
from results.comparison import compare
from results.run_manifest import load_run
from results.store import Store

# The family is trained for five minutes.
pytestmark = pytest.mark.full

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
    assert comparison.row(f"{task} expert").scores[TASKS[task]] >= 0.7
    assert comparison.row("base").scores[TASKS[task]] <= 0.6


@pytest.mark.parametrize("benchmark", ["lab_reading", "lab_yes_no"])
def test_the_base_knows_what_may_be_forgotten(comparison, benchmark):
    assert comparison.row("base").scores[benchmark] >= 0.8


def test_merging_loses_something_that_the_experts_knew(comparison):
    for label in ("task_arithmetic (scaling tuned: 3 tried)", "metis (scaling tuned: 3 tried)"):
        tasks = comparison.row(label).tasks
        assert sum(estimate.value <= 0.8 for estimate in tasks.values()) >= 2


def test_the_scaling_was_chosen_by_the_worst_task_on_validation_data(comparison):
    trace = comparison.row("task_arithmetic (scaling tuned: 3 tried)").entry.trace
    assert [trial.settings["scaling"] for trial in trace.trials] == [0.2, 0.3, 0.5]
    assert all(trial.value == min(trial.tasks.values()) for trial in trace.trials)
    assert trace.settings == max(trace.trials, key=lambda trial: trial.value).settings


def test_metis_is_weighed_by_the_loss_gaps(comparison):
    trace = comparison.row("metis (scaling tuned: 3 tried)").entry.trace
    gaps = trace.signal.values
    powers = {task: np.exp(gap / 2) for task, gap in gaps.items()}
    assert trace.weights == pytest.approx({t: p / sum(powers.values()) for t, p in powers.items()})
    assert 0 < trace.mask_density < 1
    # Of whole texts: an expert may lose more on prompts than it gains on answers, but not each of them.
    assert max(gaps, key=gaps.get) == "safety"


def test_the_table_has_the_base_four_experts_and_two_methods(comparison):
    assert [row.role for row in comparison.rows] == ["base"] + ["expert"] * 4 + ["merged"] * 2
    assert all(row.is_complete for row in comparison.rows)


def test_an_expert_keeps_all_of_its_own_skill(comparison):
    for task in TASKS:
        own = comparison.row(f"{task} expert").tasks[task]
        assert (own.value, own.low, own.high) == (1.0, 1.0, 1.0)


def test_the_report_lies_beside_the_models(demo):
    names = {path.name for path in (demo / "report").iterdir()}
    shown = {"table.md", "table.tex", "table.csv", "ranks.md", "seeds.md", "tasks.png", "worst_task.png"}
    assert names == shown | {".run"}
    assert (demo / "report/.run").read_text() == "demo"
    assert "scaling=" in (demo / "report/seeds.md").read_text()  # what was chosen


def test_a_users_own_experiment_does_the_same_as_the_demo(demo, models, comparison, tmp_path):
    """From the same experts come the same weights, whose records are found."""
    shutil.copytree(demo / "results", tmp_path / "store")
    tuned = "task_arithmetic (scaling tuned: 3 tried)"
    chosen = comparison.row(tuned).entry.trace.settings
    experiment = {
        "suite": "lab",
        "base": str(models["base"]),
        "experts": {task: str(models[task]) for task in TASKS},
        "methods": [{"name": "average"}, {"name": "task_arithmetic", "label": "sum"} | chosen],
        "limit": 120,
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(experiment))
    command = [sys.executable, "-m", "manyshot", "run", "mine.yaml", "--json", "--store", "store"]
    done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert "6 records made, 36 found" in done.stderr
    rows = json.loads(done.stdout)
    whole = {row["label"]: row for row in comparison.to_json()}
    assert len(rows) == 7
    for row in rows:
        if row["label"] != "average":
            expected = whole[{"sum": tuned}.get(row["label"], row["label"])]
            for key in ("average", "worst_task", "gap", "tasks", "forgetting", "scores"):
                assert row[key] == expected[key]


def test_the_records_can_be_loaded_as_a_table(demo):
    results = load_results(demo / "results")
    scored = results[~results["benchmark"].str.contains("@")]
    assert len(scored) == (1 + 4 + 2) * 6
    assert set(scored["benchmark"]) == {*TASKS.values(), "lab_reading", "lab_yes_no"}
    assert set(results["benchmark"]) - set(scored["benchmark"]) == {f"{b}@validation" for b in TASKS.values()}
    assert results["value"].between(0, 1).all()


@pytest.mark.parametrize("kind", ["tasks", "worst-task"])
def test_report_draws_the_figures_of_a_run(demo, tmp_path, kind):
    out = tmp_path / "figure.svg"
    command = [sys.executable, "-m", "manyshot", "report", "figure", str(out), "--show", kind]
    subprocess.run([*command, "--store", str(demo / "results")], check=True, capture_output=True)
    assert "<svg" in out.read_text()
