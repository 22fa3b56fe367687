"""What trackers are told of merges and scores, by commands and from Python."""

import json
import sys

import pytest
import tracker_stubs
import yaml
from command_line import manyshot
from made_up_comparisons import comparison_of
from tiny import tiny_llama

import results.trackers
from manyshot.experiment import Experiment
from manyshot.tracked_scores import report_comparison, tracked_scores
from manyshot.tracking import tracked_checkpoint
from merging.checkpoints.adapted import open_checkpoint
from results.errors import InputError
from results.store import Store
from results.trackers import TrackedRun, check_trackers, flat, report, training_run

TRACKERS = ("wandb", "mlflow", "trackio")
VARIABLES = ("WANDB_PROJECT", "MLFLOW_EXPERIMENT_NAME", "TRACKIO_PROJECT", "TRACKIO_SPACE_ID")
ROWS = [
    {"pubid": pubid, "question": "Q?", "context": {"contexts": ["A B."]}, "final_decision": said}
    for pubid, said in ((21645374, "yes"), (16418930, "no"), (9488747, "maybe"))
]


@pytest.fixture
def told(monkeypatch):
    """By tracker, the runs it was told of."""
    kept = {name: {} for name in TRACKERS}
    for name in TRACKERS:
        monkeypatch.setitem(sys.modules, name, getattr(tracker_stubs, name)(kept[name]))
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    return kept


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two models, a recipe and rows of a benchmark."""
    folder = tmp_path_factory.mktemp("tracked")
    for seed, name in enumerate(("base", "expert")):
        tiny_llama(folder / name, seed)
    (folder / "recipe.yaml").write_text(
        yaml.safe_dump(
            {"base": "base", "experts": {"a": {"path": "expert", "weight": 0.5}}, "method": {"name": "ties"}}
        )
    )
    (folder / "data/pubmedqa").mkdir(parents=True)
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    (folder / "data/pubmedqa/test.jsonl").write_text(lines)
    return folder


def merge(folder, out):
    done = manyshot("merge", folder / "recipe.yaml", out, "--report-to", *TRACKERS, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(out)
    return done


def test_a_merge_and_its_scores_are_one_run_of_the_checkpoint(folder, told, tmp_path):
    merge(folder, tmp_path / "merged")
    score = [
        "score",
        "--benchmark",
        "pubmedqa",
        "--data",
        folder / "data",
        "--store",
        tmp_path / "store",
        "--json",
    ]
    done = manyshot(*score, tmp_path / "merged", folder / "base", "--report-to", *TRACKERS, cwd=folder)
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)[0]  # which what Trackio prints does not spoil
    digest = open_checkpoint(tmp_path / "merged").identity().digest
    for name, runs in told.items():
        assert len(runs) == 2, name
        run = next(iter(runs.values()))
        assert run.name.startswith("merged"), name
        assert (run.opened, run.closed, run.project) == (2, 2, "manyshot"), name
        assert run.parameters["recipe.method.name"] == "ties", name
        assert float(run.parameters["recipe.experts.a.weight"]) == 0.5, name
        assert run.parameters["checkpoint.weights"] == open_checkpoint(tmp_path / "merged").identity().weights
        assert run.parameters["inputs.base.weights"] == open_checkpoint(folder / "base").identity().weights
        metrics = {key: value for logged in run.metrics for key, value in logged.items()}
        assert metrics["pubmedqa/acc"] == row["value"], name
        assert metrics["pubmedqa/acc/low"] <= row["value"] <= metrics["pubmedqa/acc/high"], name
        assert (metrics["pubmedqa/n"], metrics["merge/seconds"] > 0) == (3, True), name
        assert json.loads(run.files["merge.json"]) == json.loads((tmp_path / "merged/merge.json").read_text())
        (kept,) = json.loads(run.files["scores.json"])
        assert (kept["benchmark"], kept["value"], kept["n"]) == ("pubmedqa", row["value"], 3)
        assert kept["interval_95"] == [metrics["pubmedqa/acc/low"], metrics["pubmedqa/acc/high"]]
    assert next(iter(told["wandb"])) == digest[:32]
    assert told["mlflow"]["0"].tags["score.engine"] == "hf"
    base = list(told["trackio"].values())[1]
    assert (base.name.partition(" ")[0], "merge.json" in base.files) == ("base", False)


def test_another_way_of_scoring_changes_settings_and_no_parameter(folder, told, tmp_path):
    made = tracked_checkpoint("a", folder / "base", open_checkpoint(folder / "base").identity())
    first = TrackedRun("a", made.digest, made.parameters, {"score.limit": 1}, {"x/acc": 0.5})
    second = TrackedRun(
        "b", made.digest, {**made.parameters, "later": "1"}, {"score.limit": 2}, {"x/acc": 0.6}
    )
    report(TRACKERS, first)
    report(TRACKERS, second)
    (run,) = told["mlflow"].values()
    assert (run.tags["score.limit"], run.parameters["later"]) == ("2", "1")
    assert [one["x/acc"] for one in run.metrics] == [0.5, 0.6]
    (run,) = told["wandb"].values()
    assert run.parameters["score.limit"] == 2


def test_a_tracker_that_fails_is_a_warning_after_the_work(folder, told, tmp_path, monkeypatch):
    def unreachable(**arguments):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(sys.modules["wandb"], "init", unreachable)
    done = merge(folder, tmp_path / "merged")
    assert "merged was not reported to wandb: no route to host" in done.stderr
    assert (len(told["mlflow"]), len(told["trackio"])) == (1, 1)


def test_offline_no_space_is_asked_for(folder, told, monkeypatch, caplog):
    monkeypatch.setenv("TRACKIO_SPACE_ID", "me/space")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    report(["trackio"], TrackedRun("a", "0" * 64))
    assert not told["trackio"]
    assert "HF_HUB_OFFLINE is set" in caplog.text


def test_projects_are_named_by_the_trackers_own_variables(told, monkeypatch):
    for variable in VARIABLES[:3]:
        monkeypatch.setenv(variable, "mine")
    report(TRACKERS, TrackedRun("a", "0" * 64, metrics={"x": 1.0}))
    assert {run.project for runs in told.values() for run in runs.values()} == {"mine"}


def test_what_is_not_installed_is_said_before_anything_is_read(folder, tmp_path):
    recipe = folder / "recipe.yaml"
    for arguments in (
        ["merge", recipe, tmp_path / "merged"],
        ["score", "--benchmark", "pubmedqa", folder / "nowhere"],
    ):
        done = manyshot(*arguments, "--report-to", "mlflow", cwd=folder)
        assert (done.returncode, done.stderr) == (
            2,
            "manyshot: report_to: mlflow is not installed: pip install mlflow\n",
        )
    (tmp_path / "experiment.yaml").write_text(
        f"suite: lab\nbase: {folder / 'base'}\nexperts: {{math: x}}\nmethods: [{{name: average}}]\n"
        "report_to: [trackio]\n"
    )
    done = manyshot("run", tmp_path / "experiment.yaml", cwd=tmp_path)
    assert (done.returncode, "trackio is not installed: pip install trackio" in done.stderr) == (2, True)


def test_a_folder_that_runs_are_kept_in_is_no_package(tmp_path, monkeypatch):
    (tmp_path / "wandb/run-1").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InputError, match="wandb is not installed"):
        check_trackers(["wandb"])


def test_tensorboard_itself_gets_scores_and_recipe(folder, tmp_path, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.chdir(tmp_path)
    run = TrackedRun("my run/1", "ab" * 32, {"recipe.seed": 0}, {}, {"x/acc": 0.5}, {"merge.json": "{}"})
    report(["tensorboard"], run)
    events = EventAccumulator(str(tmp_path / "runs/my-run-1-abababab")).Reload()
    assert [(one.step, one.value) for one in events.Scalars("x/acc")] == [(0, 0.5)]
    (text,) = events.Tensors("parameters/text_summary")
    assert b"recipe.seed" in text.tensor_proto.string_val[0]


def test_nested_values_get_names_and_lists_one():
    assert flat({"a": {"b": 1, "c": None, "d": {"e": "x"}}, "f": [1, {"g": 2}]}) == {
        "a.b": 1, "a.d.e": "x", "f": '[1, {"g": 2}]'
    }  # fmt: skip


def test_an_experiment_says_once_where_all_is_reported():
    fields = Experiment.model_fields
    assert (
        fields["report_to"].annotation == results.trackers.ReportSettings.model_fields["report_to"].annotation
    )
    assert "report_to" not in type(fields["train"].annotation.__args__[0]).__dict__
    assert "report_to" not in fields["train"].annotation.__args__[0].model_fields


def test_a_checkpoint_without_records_has_no_scores(folder):
    made = tracked_scores(
        "base", folder / "base", open_checkpoint(folder / "base").identity(), {}, Store(folder)
    )
    assert (dict(made.metrics), dict(made.files), dict(made.settings)) == ({}, {}, {})


def test_an_experiments_checkpoints_are_runs_with_their_normalised_performance(told, tmp_path):
    comparison = comparison_of(tasks=3, methods=2)
    report_comparison(TRACKERS, comparison, Store(tmp_path))
    row = comparison.rows[-1]
    run = told["wandb"][row.entry.checkpoint.digest[:32]]
    assert run.name == f"{comparison.name} {row.label}"
    assert (run.parameters["run.run"], run.parameters["run.role"]) == (comparison.name, "merged")
    (metrics,) = run.metrics
    assert metrics["np/worst_task"] == row.worst_task.value
    assert (metrics["np/average/low"], metrics["np/average/high"]) == (row.average.low, row.average.high)
    assert all(metrics[f"np/{task}"] == known.value for task, known in row.tasks.items())
    every = (*comparison.rows, *comparison.rounds)
    assert len(told["mlflow"]) == len({row.entry.checkpoint.digest for row in every}) > len(comparison.rows)
    assert not report_comparison((), comparison, Store(tmp_path))


def test_each_training_has_a_run_of_its_own_and_a_users_run_stays_open(monkeypatch):
    """As transformers does it: a run is opened where none is, and left open."""
    finished = []

    def finish():
        finished.append(wandb.run)
        wandb.run = None

    wandb = tracker_stubs.module("wandb", run=None, finish=finish)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    for name in ("first", "second"):
        with training_run(["wandb"]):
            wandb.run = wandb.run or name
    assert finished == ["first", "second"]
    wandb.run = "the user's"
    with training_run(["wandb"]):
        pass
    assert (wandb.run, len(finished)) == ("the user's", 2)
