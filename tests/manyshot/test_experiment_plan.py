"""`run --plan` says what a run will do, offline and without weights or rows, for whatever is shipped."""

import json
import socket

import pytest
import yaml
from tiny import tiny_llama

from manyshot.cli import main
from manyshot.experiment import SHIPPED, load_experiment
from manyshot.experiment_plan import plan_experiment
from merging.tuning import choose_settings, grid_search
from results.errors import InputError

pytestmark = pytest.mark.slow


@pytest.fixture
def offline(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a plan reaches for the network")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr("bench.examples.hub_rows", refuse)
    monkeypatch.setattr("bench.data.hub_rows", refuse)


@pytest.mark.parametrize("name", sorted(path.stem for path in SHIPPED.glob("*.yaml")))
def test_every_shipped_experiment_has_a_plan_without_anything_at_hand(
    name, offline, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MANYSHOT_DATA", raising=False)
    main(["run", name, "--plan", "--tokens-per-second", "1000"])
    shown = capsys.readouterr().out
    assert "the standalone experts" in shown and "hours" in shown
    assert not list(tmp_path.iterdir())


def test_metis_shares_the_first_round_and_the_standalone_experts():
    plan = plan_experiment(load_experiment(SHIPPED / "metis.yaml"))
    experiment = load_experiment(SHIPPED / "metis.yaml")
    many = [method for method in experiment.methods if method.protocol == "many-shot"]
    assert plan.times("train", "the standalone experts, on all rounds' passes") == 4
    assert plan.times("train", "the experts of round 1") == 4
    assert plan.times("train") == 4 + 4 + len(many) * 4 * 4
    (alone, first, *_) = plan.steps
    assert (alone.texts, first.texts) == (4 * 5 * 1000, 4 * 1000)
    assert alone.tokens == 4 * 5 * 1000 * 512  # without rows, what a text is cut at


def experiment(tmp_path, **changes):
    content = {"suite": "lab", "base": "lab", "train": {"rounds": 2, "examples": 8}, **changes}
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(content))
    return load_experiment(tmp_path / "experiment.yaml")


def test_experts_of_lori_s_read_their_examples_twice(tmp_path):
    methods = [{"name": "average"}, {"name": "average", "protocol": "many-shot"}]
    read = {}
    for init in ("lori_d", "lori_s"):
        train = {"rounds": 2, "examples": 8, "adapter": {"rank": 4, "init": init}}
        plan = plan_experiment(experiment(tmp_path, methods=methods, train=train))
        read[init] = [step.texts for step in plan.steps if step.phase == "train"]
    assert read["lori_d"] == [4 * 8 * 2, 4 * 8, 4 * 8]  # all rounds' passes at once, then each round's
    assert read["lori_s"] == [2 * texts for texts in read["lori_d"]]


def test_what_is_chosen_among_is_merged_and_scored_on_validation_data(tmp_path):
    tuned = {"name": "task_arithmetic", "scaling": {"choose": [0.3, 0.5, 1.0]}}
    plan = plan_experiment(experiment(tmp_path, methods=[tuned, {**tuned, "protocol": "many-shot"}]))
    assert plan.times("merge", "to choose settings by") == 3 + 2 * 3
    # On each of four benchmarks: three candidates post hoc, three in each round, and its own expert.
    assert plan.times("choose") == 4 * (3 + 2 * 3) + 4
    kept = {**tuned, "protocol": "many-shot", "keep": "best_average"}
    again = plan_experiment(experiment(tmp_path, methods=[tuned, kept]))
    assert again.times("choose") == plan.times("choose")  # the merged one is one of those that were tried


def test_weights_by_scores_ask_for_those_of_the_base_and_of_each_round(tmp_path):
    method = {"name": "average", "weighting": "np_gap", "protocol": "many-shot"}
    plan = plan_experiment(experiment(tmp_path, methods=[method]))
    assert plan.times("signals", "validation scores") == 4 * (1 + 1) + 4  # base, round 1, experts
    assert plan.times("score") == 6 * (1 + 4 + 2)  # six benchmarks: the base, four experts, two rounds


def test_seeds_and_subsets_share_what_they_can(tmp_path):
    plan = plan_experiment(experiment(tmp_path, methods=[{"name": "average"}], seeds=[0, 1], subsets=[2, 3]))
    assert plan.times("train") == 4 * 2
    assert plan.times("merge") == 2 * (6 + 4)
    # The base and each expert once on each benchmark; a merge on its own tasks' and on the two of forgetting.
    assert plan.times("score", "the base") == 6
    assert plan.times("score", "what is merged post hoc") == 2 * (6 * 4 + 4 * 5)


def test_coefficients_are_learned_once_a_merge_from_targets_made_once(tmp_path):
    methods = [
        {"name": "divmerge", "inputs": 5, "epochs": 2, "max_new_tokens": 4},
        {"name": "divmerge", "inputs": 5, "epochs": 2, "max_new_tokens": 4, "level": "layer"},
    ]
    plan = plan_experiment(experiment(tmp_path, methods=methods))
    assert plan.times("learn") == 2
    assert plan.times("signals", "what experts say") == 4
    (learned,) = [step for step in plan.steps if step.phase == "learn"]
    assert learned.texts == 2 * 4 * 5 * 2


def test_what_methods_measure_is_measured_once_for_all_that_use_it(tmp_path):
    few = {"inputs": 5, "max_new_tokens": 4}
    methods = [
        {"name": "regmean", "alpha": 0.1, **few},
        {"name": "regmean", "alpha": 0.9, **few},
        {"name": "regmean_plus_plus", "alpha": 0.9, **few},
        {"name": "fisher", **few},
    ]
    plan = plan_experiment(experiment(tmp_path, methods=methods))
    assert plan.times("signals", "what experts say") == 4
    assert plan.times("signals", "what methods measure of experts") == 3 * 4


class Signals:
    """Any numbers."""

    def normalised(self, checkpoint, task):
        return 1.0

    def benchmarks(self, task):
        return 1


@pytest.mark.parametrize(
    "settings",
    [
        {"scaling": 0.5},
        {"scaling": {"choose": [0.5, 1.0]}, "consensus": {"choose": [1, 2]}, "mask_threshold": 0.4},
        {
            "mask_threshold": {"choose_per_task": [0.2, 0.4]},
            "scaling": {"choose": [0.5, 1.0]},
            "consensus": 2,
        },
        {"mask_threshold": {"choose_per_task": [0.2, 0.4]}},
        {"mask_threshold": {"choose_per_task": [0.2]}},
    ],
)
def test_what_a_search_tries_is_what_choosing_merges(settings, tmp_path):
    merged, tried = [], []

    def merge_to(some, out):
        merged.append(some)
        out.mkdir(parents=True)

    tasks = ["math", "safety"]
    choose_settings(
        settings, merge_to, Signals(), tasks=tasks, objective="average", folder=tmp_path / "trials"
    )
    grid_search(settings, tasks, lambda candidate, _: float(tried.append(candidate) is not None))
    assert tried == merged


def test_the_plan_refuses_what_the_run_would(tmp_path):
    short = {
        "name": "metis",
        "protocol": "many-shot",
        "weighting": {"name": "loss_gap", "temperature": [1, 2, 3]},
    }
    with pytest.raises(InputError, match="3 temperatures, one for each round, and there are 2 rounds"):
        plan_experiment(experiment(tmp_path, methods=[short]))


def test_learning_from_questions_that_are_not_at_hand_is_refused(tmp_path):
    learns = {"name": "divmerge", "source": "test"}
    changes = {"suite": "metis", "base": "models/base", "methods": [learns]}
    with pytest.raises(InputError, match="questions of ifeval, and no rows of it are at hand"):
        plan_experiment(experiment(tmp_path, **changes), tmp_path, skip_missing=True)


def test_given_experts_are_merged_and_weighed(tmp_path, capsys):
    base = tiny_llama(tmp_path / "base")
    experts = {task: str(base) for task in ("instructions", "math", "multilingual", "safety")}
    content = {
        "suite": "lab",
        "base": str(base),
        "experts": experts,
        "methods": [{"name": "metis"}, {"name": "dare"}],
        "seeds": [0, 1],
    }
    (tmp_path / "given.yaml").write_text(yaml.safe_dump(content))
    main(["run", str(tmp_path / "given.yaml"), "--plan", "--json"])
    plan = json.loads(capsys.readouterr().out)
    times = {(step["phase"], step["what"]): step["times"] for step in plan["steps"]}
    assert times["merge", "post hoc, into whole models"] == 1 + 2  # DARE draws, once for each seed
    assert times["signals", "losses"] == 4 + 4
    assert not [step for step in plan["steps"] if step["phase"] == "train"]
    assert not any("hours" in step for step in plan["steps"])


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--plan", "--tokens-per-second", "1", "2", "3"], "is 1 2 3; one or two numbers above 0"),
        (["--plan", "--tokens-per-second", "0"], "is 0; one or two numbers above 0"),
        (["--tokens-per-second", "5"], "--tokens-per-second is of a plan: give --plan too"),
    ],
)
def test_rates_that_mean_nothing_are_refused(arguments, complaint, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["run", "lab", *arguments])
    assert stopped.value.code == 2
    assert complaint in capsys.readouterr().err
