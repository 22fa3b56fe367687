"""Comparisons are fair: in what is shipped every method that is tuned has as many candidates as others."""

import pytest

from manyshot.commands.demo import experiment
from manyshot.experiment import SHIPPED, MethodEntry, load_experiment
from merging.tuning import number_of_candidates

WITHOUT_SETTINGS = {"average", "multislerp"}


def budgets(methods):
    """How many candidates each method has, by name; methods that have nothing to choose are left out."""
    found = {}
    for method in methods:
        if method.name not in WITHOUT_SETTINGS:
            found.setdefault(method.name, set()).add(number_of_candidates(method.settings))
    return found


@pytest.mark.parametrize("name", sorted(path.stem for path in SHIPPED.glob("*.yaml")))
def test_shipped_experiments(name):
    found = budgets(load_experiment(SHIPPED / f"{name}.yaml").methods)
    assert len(set(map(frozenset, found.values()))) <= 1, found


def test_the_lab_is_tuned_with_eight_candidates_and_the_demo_with_three():
    tuned = budgets(load_experiment(SHIPPED / "lab-tuned.yaml").methods)
    assert tuned == {name: {8} for name in ("task_arithmetic", "dare", "ties", "consensus_ta", "metis")}
    demo = budgets([MethodEntry(**method) for method in experiment(smoke=False)["methods"]])
    assert demo == {"task_arithmetic": {3}, "metis": {3}}


@pytest.mark.parametrize("protocol", ["post-hoc", "many-shot"])
def test_metis_run_has_every_method_as_it_comes_and_tuned_with_six_candidates(protocol):
    methods = load_experiment(SHIPPED / "metis.yaml").methods
    found = budgets([method for method in methods if method.protocol == protocol])
    assert found == {name: {0, 6} for name in ("task_arithmetic", "dare", "ties", "consensus_ta", "metis")}


def test_the_number_of_candidates_is_in_the_title_of_every_table():
    tuned = MethodEntry(
        name="ties", density={"choose": [0.2, 0.5]}, scaling={"choose": [0.5, 1.0]}, variant="paper"
    )
    assert tuned.title == "ties (variant=paper, density and scaling tuned: 4 tried)"
    scheduled = MethodEntry(name="metis", preset="scheduled", protocol="many-shot")
    assert scheduled.title == "metis (scheduled), many-shot"


def test_presets_of_metis_are_the_two_released_settings():
    constant, scheduled = (MethodEntry(name="metis", preset=name) for name in ("constant", "scheduled"))
    assert constant.settings == {"mask_ratio": 0.3, "consensus": 2, "strict": True, "scaling": 1.0}
    assert scheduled.settings["scaling"] == [1.6, 1.2, 1.2, 1.0, 1.0]
    assert [
        constant.task_weighting.temperature,
        constant.task_weighting.over,
        constant.task_weighting.name,
    ] == [2.0, "text", "loss_gap"]
    assert scheduled.task_weighting.temperature == (4.0, 3.0, 3.0, 2.0, 1.0)
    changed = MethodEntry(name="metis", preset="constant", consensus=0, weighting="uniform")
    assert (changed.settings["consensus"], changed.task_weighting.name) == (0, "uniform")
