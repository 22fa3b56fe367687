"""Experiments that train their experts, from end to end: METIS's own, with adapters, on a few rows."""

import json
import shutil

import pytest
import yaml
from command_line import manyshot
from peft import PeftModel
from transformers import AutoModelForCausalLM

from manyshot.experiment import SHIPPED, find_experiment, load_experiment
from manyshot.lab.base import BaseSettings, make_base
from manyshot.run import RunContext, run_experiment
from merging.checkpoints.adapted import open_checkpoint
from merging.merge import merge
from merging.recipe import Recipe
from results.comparison import compare
from results.errors import InputError
from results.leaderboard import gather
from results.run_manifest import load_run
from results.store import Store
from results.validation import validated

pytestmark = pytest.mark.slow

ROWS = {
    "tulu_3_personas_if.jsonl": {"messages": [{"content": "Say hello {i}."}, {"content": "Hello {i}."}]},
    "dart_math_hard.jsonl": {"query": "What is {i} + 1?", "response": "It is one more than {i}."},
    "numina_math_tir.jsonl": {"problem": "What is {i} - 1?", "solution": "One less than {i}."},
    "aya.jsonl": {"inputs": "Quel jour {i} ?", "targets": "Lundi {i}.", "language_code": "fra"},
    "wildguardmix.jsonl": {
        "prompt": "How do I break lock {i}?",
        "response": "I cannot help with {i}.",
        "response_refusal_label": "refusal",
        "prompt_harm_label": "harmful",
    },
    "wildjailbreak.jsonl": {"vanilla": "Hurt me {i}", "adversarial": "", "completion": "No, {i}."},
}


KEEP = {"keep": "best_worst_task"}


def run_metis(folder, base, rows, *more):
    arguments = ["--base", base, "--data", rows, "--limit", 1, "--skip-missing", "--judge", "patterns"]
    arguments += ["--store", "store", "--out", "out", *more]
    return manyshot("run", "metis.yaml", *arguments, cwd=folder, without=())


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("lab") / "base", BaseSettings.smoke())


@pytest.fixture(scope="module")
def rows(data, tmp_path_factory):
    """A data root with real rows of some benchmarks, and a few made-up ones to train on."""
    root = tmp_path_factory.mktemp("rows")
    for folder in ("ifeval", "m_arc", "xstest"):
        (root / folder).symlink_to(data / folder)
    (root / "training").mkdir()
    for name, row in ROWS.items():
        lines = [json.dumps(row).replace("{i}", str(i)) for i in range(210)]
        (root / "training" / name).write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="module")
def done(base, rows, tmp_path_factory):
    """METIS's experiment with fewer rows, rounds and methods, on the lab's base."""
    folder = tmp_path_factory.mktemp("metis")
    content = yaml.safe_load((SHIPPED / "metis.yaml").read_text())
    content["train"] |= {"rounds": 2, "examples": 8, "validation": 4, "max_length": 128}
    assert content["judge"] == "allenai/wildguard"  # which is not at hand
    content["methods"] = [
        method
        for method in content["methods"]
        if (method.get("preset"), method.get("mask_ratio")) == ("constant", None)
        or (method["name"], method.get("protocol")) == ("average", None)
    ]
    content["methods"].append(
        {"name": "metis", "space": "delta", "protocol": "many-shot", "label": "products", **KEEP}
    )
    (folder / "metis.yaml").write_text(yaml.safe_dump(content))
    ran = run_metis(folder, base, rows)
    assert ran.returncode == 0, ran.stderr
    return folder, ran


def test_the_run_has_both_protocols_and_both_spaces(done):
    folder, _ = done
    store = Store(folder / "store")
    run = load_run(store)
    merged = [(entry.label, entry.protocol) for entry in run.entries if entry.role == "merged"]
    assert merged == [
        ("average", "post-hoc"),
        ("metis (constant)", "post-hoc"),
        ("metis (constant), many-shot", "many-shot"),
        ("products", "many-shot"),
    ]
    assert [entry.round_index for entry in run.entries if entry.role == "round"] == [1, 2, 1, 2]
    assert compare(run, store).rows[0].role == "base"


def test_factors_merge_into_an_adapter_and_products_into_a_model(done, base):
    folder, _ = done
    paths = {entry.label: folder / entry.path for entry in load_run(Store(folder / "store")).entries}
    PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(base), paths["metis (constant), many-shot"]
    )
    AutoModelForCausalLM.from_pretrained(paths["products"])
    assert (paths["math expert"] / "adapter_model.safetensors").is_file()


def test_the_leaderboards_recipe_merges_the_same_checkpoint(done, tmp_path, monkeypatch):
    folder, _ = done
    monkeypatch.chdir(tmp_path)  # where nothing relative would be found
    standings = gather([folder / "store"]).standings
    entries = {
        one.entry.title: one.entry for one in standings if one.entry.checkpoints[0].protocol == "post-hoc"
    }
    assert entries["metis (constant)"].recipe["space"] == "factors"
    for title, entry in entries.items():
        merge(validated(Recipe, entry.recipe, title), tmp_path / title, progress=False)
        assert [open_checkpoint(title).identity().digest] == [
            one.checkpoint.digest for one in entry.checkpoints
        ]


def test_of_rounds_the_leaderboard_says_how_they_were_made(done):
    folder, _ = done
    (many,) = [one.entry for one in gather([folder / "store"]).standings if one.entry.title == "products"]
    known = {name: many.recipe[name] for name in ("rounds", "keep", "anchor", "space")}
    assert known == {"rounds": 2, "keep": "best_worst_task", "anchor": "base", "space": "delta"}
    assert many.recipe["weighting"]["name"] == "loss_gap"


def test_the_round_that_counts_is_the_best_on_validation_data(done):
    folder, _ = done
    entries = {entry.label: entry for entry in load_run(Store(folder / "store")).entries}
    kept = entries["products"].selection
    curve = [score.value for score in kept.scores]
    assert [min(score.tasks.values()) for score in kept.scores] == curve
    assert kept.round_index == 1 + max(range(2), key=lambda index: (curve[index], index))
    assert entries["products"].checkpoint == entries[f"products, round {kept.round_index}"].checkpoint
    assert entries["metis (constant), many-shot"].selection.round_index == 2


def test_post_hoc_experts_read_as_many_epochs_at_once_as_there_are_rounds(done):
    folder, _ = done
    (run,) = [load_run(Store(folder / "store"))]
    reports = [
        json.loads((folder / entry.path / "training.json").read_text())
        for entry in run.entries
        if entry.role == "expert"
    ]
    assert [report["settings"]["epochs"] for report in reports] == [2] * 4
    assert [report["settings"]["first_epoch"] for report in reports] == [0] * 4


def test_losses_are_of_longer_texts_than_are_trained_on_and_without_an_end(done):
    folder, _ = done
    notes = [json.loads(path.read_text()) for path in (folder / "store" / "signals").glob("*.json")]
    losses = [note for note in notes if note["kind"] == "loss over text"]
    assert losses and {(note["max_length"], note["end_token"]) for note in losses} == {(2048, False)}


def test_a_judge_that_cannot_be_had_is_said_before_anything_is_trained(base, rows, tmp_path):
    experiment = load_experiment(find_experiment("metis")).model_copy(
        update={"base": str(base), "judge": "no"}
    )
    with pytest.raises(
        InputError, match=r"The judge of refusals cannot be had: no: no such folder.*'patterns'"
    ):
        run_experiment(experiment, "metis", RunContext(Store(tmp_path / "store"), tmp_path / "out", rows))
    assert not (tmp_path / "out").exists()


def test_the_plan_says_what_the_run_did(done, base, rows, tmp_path):
    folder, ran = done
    shutil.copy(folder / "metis.yaml", tmp_path)
    said = run_metis(tmp_path, base, rows, "--plan", "--json", "--tokens-per-second", 100, 1000)
    assert said.returncode == 0, said.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["metis.yaml"]  # nothing is written
    plan = json.loads(said.stdout)

    def planned(phase, key="times"):
        return sum(step[key] for step in plan["steps"] if step["phase"] == phase)

    reports = [json.loads(path.read_text()) for path in folder.glob("out/experts/*/training.json")]
    assert planned("train") == len(reports)
    read = sum(one["settings"]["epochs"] * (one["used"] + one["left_out"]) for one in reports)
    assert planned("train", "texts") == read
    merged = [path for path in folder.glob("out/merged/*/round-?") if path.is_dir()]
    assert planned("merge") == len(merged)
    assert f"{planned('score')} records made" in ran.stderr
    losses = list((folder / "store" / "signals").glob("*.json"))
    assert planned("signals") + planned("choose") == len(losses)
    assert plan["tasks"]["math"]["training"]["texts"] == 8 and plan["tasks"]["math"]["training"]["counted"]
    (training, *_) = [step for step in plan["steps"] if step["phase"] == "train"]
    assert training["hours"] == pytest.approx(training["tokens"] / 100 / 3600, abs=1e-4)


def test_a_finished_run_makes_nothing_again(done, base, rows):
    folder, _ = done
    before = {path: path.stat().st_mtime_ns for path in (folder / "out").rglob("*.safetensors")}
    again = run_metis(folder, base, rows)
    assert "0 records made" in again.stderr
    assert before == {path: path.stat().st_mtime_ns for path in (folder / "out").rglob("*.safetensors")}


def test_every_shipped_experiment_can_be_read():
    for path in SHIPPED.glob("*.yaml"):
        assert load_experiment(find_experiment(path.stem)).train is not None
    with pytest.raises(
        InputError, match="no experiment 'nothing'; there are divmerge-glue, divmerge-t5, glue-lab, "
    ):
        find_experiment("nothing")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"train": None}, "either `experts`"),
        (
            {"methods": [{"name": "metis", "weighting": {"name": "loss_gap", "temperature": 0}}]},
            "temperature",
        ),
        ({"methods": [{"name": "metis", "weighting": "fisher"}]}, "weighting"),
        ({"methods": [{"name": "average", "protocol": "twice"}]}, "protocol"),
        ({"methods": [{"name": "metis", "space": "factors"}]}, "adapters"),
        ({"methods": [{"name": "task_arithmetic", "scaling": {"choose": []}}]}, "list of values to choose"),
        (
            {"methods": [{"name": "task_arithmetic", "scaling": [0.3, 0.5]}]},
            "has 2 values, .* there is 1 round",
        ),
        (
            {"methods": [{"name": "metis", "protocol": "many-shot", "scaling": [1.6, 1.2, 1.0]}]},
            "has 3 values, .* there are 5 rounds",
        ),
        (
            {
                "methods": [{"name": "metis", "protocol": "many-shot", "preset": "scheduled"}],
                "train": {"rounds": 6},
            },
            "has 5 temperatures, .* there are 6 rounds",
        ),
        (
            {
                "methods": [
                    {
                        "name": "metis",
                        "weighting": {"name": "loss_gap", "temperature": [2, 1]},
                        "label": "once",
                    }
                ]
            },
            "has 2 temperatures, .* there is 1 round",
        ),
        (
            {"methods": [{"name": "metis", "preset": "paper"}]},
            "no preset 'paper'; there are constant, scheduled",
        ),
        ({"methods": [{"name": "ties", "preset": "paper"}]}, "no preset 'paper'; it has none"),
        ({"train": {"learning_rate": -1}}, "learning_rate"),
        ({"train": {"rounds": 0}}, "train.rounds"),
        ({"methods": [{"name": "average", "keep": "best_average"}]}, "'keep' means nothing"),
        ({"methods": [{"name": "ties", "objective": "worst_task"}]}, "'objective' means nothing"),
        (
            {"methods": [{"name": "divmerge", "space": "factors"}], "train": {"adapter": {}}},
            "learns coefficients of whole task vectors",
        ),
        (
            {"methods": [{"name": "task_arithmetic", "scaling": {"choose_per_task": [0.3, 0.5]}}]},
            "cannot be chosen for each task alone",
        ),
        (
            {"methods": [{"name": "consensus_ta", "mask_threshold": {"math": 0.4}}]},
            "is for math, but the tasks are instructions, math",
        ),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_trained(base, tmp_path, change, complaint):
    usual = {"suite": "lab", "base": str(base), "train": {"examples": 4}, "methods": [{"name": "average"}]}
    content = {key: value for key, value in (usual | change).items() if value is not None}
    (tmp_path / "odd.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(InputError, match=complaint):
        context = RunContext(Store(tmp_path / "store"), tmp_path / "out")
        run_experiment(load_experiment(tmp_path / "odd.yaml"), "odd", context)
    assert not (tmp_path / "out").exists()
