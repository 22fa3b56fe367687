"""What can be known of an experiment before work starts is refused before work starts."""

import json

import pytest
from tiny import tiny_llama

from bench.suite import load_suite
from manyshot.check import accepted_by_task, check_experiment
from manyshot.experiment import Experiment
from manyshot.lab.smol import smol_base
from results.errors import InputError
from results.validation import validated

USUAL = {"suite": "lab", "base": "models/base", "train": {"rounds": 2}, "methods": [{"name": "average"}]}
TASKS = ("instructions", "math", "multilingual", "safety")


def experiment(**changes):
    content = {key: value for key, value in (USUAL | changes).items() if value is not None}
    return validated(Experiment, content, "experiment.yaml")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"methods": [{"name": "ties"}, {"name": "ties"}]}, "Two methods are called 'ties'"),
        ({"methods": [{"name": "ties", "label": "base"}]}, "A method is called 'base', as the base or"),
        ({"methods": [{"name": "ties", "label": "math expert"}]}, "called 'math expert', as the base or"),
        (
            {
                "methods": [
                    {"name": "ties", "protocol": "many-shot", "label": "ties"},
                    {"name": "average", "label": "ties, round 2"},
                ]
            },
            "Two methods are called 'ties, round 2'",
        ),
        ({"methods": [{"name": "ties", "space": "factors"}]}, "'ties': the space 'factors' is for adapters"),
        ({"train": None, "experts": dict.fromkeys(TASKS[1:], "x")}, "names no expert for it"),
        ({"train": None, "experts": dict.fromkeys([*TASKS, "law"], "x")}, "names an expert for 'law'"),
        ({"preset": "paper"}, "The suite lab has no preset 'paper'"),
        (
            {"train": None, "experts": dict.fromkeys(TASKS, "average")},
            "A method is called 'average', as the base or an expert is",
        ),
        (
            {"methods": [{"name": "divmerge", "coefficients": dict.fromkeys(TASKS, 0.5)}], "subsets": [2]},
            "the tasks are instructions, math; name each once",
        ),
        ({"subsets": [2, 5]}, "Subsets of 5 of 4 tasks cannot be merged"),
    ],
)
def test_names_and_settings_that_do_not_fit_are_refused(changes, complaint):
    with pytest.raises(InputError, match=complaint):
        check_experiment(experiment(**changes), load_suite("lab"))


def test_a_run_that_could_not_be_saved_is_refused():
    with pytest.raises(InputError, match="run name 'a b': use letters"):
        check_experiment(experiment(), load_suite("lab"), "a b")


def test_a_label_that_no_manifest_holds_is_refused(monkeypatch):
    with pytest.raises(InputError, match="a text of at most 500 characters is expected"):
        experiment(methods=[{"name": "ties", "label": "x" * 501}])
    monkeypatch.setattr("manyshot.check.LONGEST_NAME", 400)
    with pytest.raises(InputError, match=r"would be called 'y+…, in 410 characters; at most 400"):
        check_experiment(experiment(methods=[{"name": "ties", "label": "y" * 410}]), load_suite("lab"))


def test_seeds_tell_titles_apart():
    check_experiment(experiment(seeds=[0, 1], methods=[{"name": "dare"}]), load_suite("lab"), "name")


def test_a_difference_is_accepted_in_the_subsets_whose_experts_have_it(tmp_path):
    base = tiny_llama(tmp_path / "base")
    experts = {task: str(tiny_llama(tmp_path / task)) for task in TASKS}
    file = tmp_path / "math/config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"rms_norm_eps": 0.5}))
    about = {"train": None, "base": str(base), "experts": experts}
    accepting = experiment(**about, accept_differences=["config.rms_norm_eps"])
    accepted = accepted_by_task(accepting)
    assert accepted == {task: ["config.rms_norm_eps"] if task == "math" else [] for task in TASKS}
    for subset in (("math", "safety"), ("instructions", "safety")):
        of_subset = accepting.only(subset, accepted)
        assert tuple(of_subset.experts) == subset
        assert of_subset.accept_differences == (("config.rms_norm_eps",) if "math" in subset else ())
    with pytest.raises(InputError, match=r"names 'config.vocab_size', in which no expert differs"):
        both = ["config.rms_norm_eps", "config.vocab_size"]
        accepted_by_task(experiment(**about, accept_differences=both))


def test_the_base_smol_is_in_the_cache_or_is_missed_by_name(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(InputError, match="`make smol` fetches and converts it"):
        smol_base()
    folder = tmp_path / "manyshot" / "smol"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    assert smol_base() == folder
