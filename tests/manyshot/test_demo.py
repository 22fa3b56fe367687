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
    assert comparison.row(f"{task} expert").scores[TASKS[task]] >= 0.7
    assert comparison.row("base").scores[TASKS[task]] <= 0.6


@pytest.mark.parametrize("benchmark", ["lab_reading", "lab_yes_no"])
def test_the_base_knows_what_may_be_forgotten(comparison, benchmark):
    assert comparison.row("base").scores[benchmark] >= 0.8


def test_merging_loses_something_that_the_experts_knew(comparison):
    for label in ("task_arithmetic (scaling tuned)", "metis"):
        tasks = comparison.row(label).tasks
        assert sum(estimate.value <= 0.8 for estimate in tasks.values()) >= 2


def test_the_scaling_was_chosen_by_the_worst_task_on_validation_data(comparison):
    tuned = [row for row in (*comparison.rows, *comparison.rounds) if row.method == "task_arithmetic"]
    assert len(tuned) == 2 + 5
    for row in tuned:
        tried = row.measured["tried"]
        assert [one["settings"]["scaling"] for one in tried] == [0.2, 0.3, 0.5]
        assert all(one["value"] == min(one["tasks"].values()) for one in tried)
        best = max(tried, key=lambda one: one["value"])
        assert row.measured["settings"] == best["settings"]


def test_a_round_takes_little_time_besides_training_and_scoring(comparison):
    for row in comparison.rounds:
        assert row.measured["seconds"].keys() == {"train", "rest", "signals", "choose", "merge"}


def test_the_table_has_two_methods_merged_once_and_in_rounds(comparison):
    assert [row.role for row in comparison.rows] == ["base"] + ["expert"] * 4 + ["merged"] * 4
    merged = {(row.method, row.protocol) for row in comparison.rows if row.role == "merged"}
    assert merged == {(m, p) for m in ("task_arithmetic", "metis") for p in ("post-hoc", "many-shot")}
    assert all(row.is_complete for row in comparison.rows)


def test_every_round_is_recorded_with_its_weights_and_gaps(comparison):
    assert [row.turn for row in comparison.rounds] == [1, 2, 3, 4, 5] * 2
    for row in comparison.rounds:
        assert row.measured["weights"].keys() == TASKS.keys()
        assert sum(row.measured["weights"].values()) == pytest.approx(1)
        assert row.is_complete
    metis = [row for row in comparison.rounds if row.of.startswith("metis")]
    assert all(0 < row.measured["mask_density"] < 1 for row in metis)
    assert all(row.measured["gaps"].keys() == TASKS.keys() for row in metis)
    # The last round's checkpoint is the one that is compared.
    for row in (metis[-1], comparison.rounds[4]):
        assert row.scores == comparison.row(row.of).scores


def test_an_expert_keeps_all_of_its_own_skill(comparison):
    for task in TASKS:
        own = comparison.row(f"{task} expert").tasks[task]
        assert (own.value, own.low, own.high) == (1.0, 1.0, 1.0)


def test_the_report_lies_beside_the_models(demo):
    names = {path.name for path in (demo / "report").iterdir()}
    tables = {"table.md", "table.tex", "table.csv", "seeds.md"}
    assert names == tables | {"tasks.png", "worst_task.png", "rounds.png", "weights.png"}


def test_a_users_own_experiment_does_the_same_as_the_demo(models, comparison, tmp_path):
    tuned = "task_arithmetic (scaling tuned)"
    chosen = comparison.row(tuned).measured["settings"]
    experiment = {
        "suite": "lab",
        "base": str(models["base"]),
        "experts": {task: str(models[task]) for task in TASKS},
        "methods": [{"name": "average"}, {"name": "task_arithmetic", "label": "sum"} | chosen],
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(experiment))
    command = [sys.executable, "-m", "manyshot", "run", "mine.yaml", "--json", "--store", "store"]
    rows = json.loads(subprocess.run(command, cwd=tmp_path, check=True, capture_output=True).stdout)
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
    assert len(scored) == (1 + 4 + 2 + 2 * 5) * 6
    assert set(scored["benchmark"]) == {*TASKS.values(), "lab_reading", "lab_yes_no"}
    assert set(results["benchmark"]) - set(scored["benchmark"]) == {f"{b}@validation" for b in TASKS.values()}
    assert results["value"].between(0, 1).all()


@pytest.mark.parametrize("kind", ["tasks", "worst-task", "rounds", "weights"])
def test_report_draws_the_figures_of_a_run(demo, tmp_path, kind):
    out = tmp_path / "figure.svg"
    command = [sys.executable, "-m", "manyshot", "report", "figure", str(out), "--show", kind]
    subprocess.run([*command, "--store", str(demo / "results")], check=True, capture_output=True)
    assert "<svg" in out.read_text()
