"""The zoo: an experiment with all methods that can merge its experts."""

import pytest
import yaml

import merging.known_methods
from manyshot.experiment import SHIPPED, load_experiment
from merging.known_methods import known_methods, register
from merging.method import Method, Scope
from results.errors import InputError


def methods_of(experiment):
    return [method.name for method in experiment.methods]


def written(folder, **keys):
    path = folder / "all.yaml"
    experts = {task: f"models/{task}" for task in ("instructions", "math", "multilingual", "safety")}
    path.write_text(yaml.safe_dump({"suite": "lab", "base": "models/base", "experts": experts} | keys))
    return path


@pytest.mark.parametrize("name", ["zoo", "smol-zoo"])
def test_all_methods_of_four_experts_are_in_it_with_their_defaults(name):
    experiment = load_experiment(SHIPPED / f"{name}.yaml")
    no_merge_of_four = {"slerp", "nuslerp", "nearswap", "arcee_fusion", "weighted_sum"}
    ours = [known for known, one in known_methods().items() if one.method_class.__module__[:8] == "merging."]
    assert [one for one in methods_of(experiment) if one in ours] == [
        one for one in ours if one not in no_merge_of_four
    ]
    assert not any(method.settings or method.in_rounds for method in experiment.methods)


def test_its_experts_are_those_that_the_other_study_of_the_lab_trains():
    zoo, study = (load_experiment(SHIPPED / f"{name}.yaml") for name in ("zoo", "lab"))
    assert (zoo.train, zoo.suite, zoo.base) == (study.train, study.suite, study.base)


def test_two_experts_are_merged_by_the_methods_of_two_as_well(tmp_path):
    suite = load_experiment(written(tmp_path, methods="all")).suite
    assert suite == "lab"
    of_two = yaml.safe_load((SHIPPED / "t5-lab.yaml").read_text())["suite"]
    experts = {"imdb": "models/imdb", "qasc": "models/qasc"}
    found = methods_of(load_experiment(written(tmp_path, suite=of_two, experts=experts, methods="all")))
    assert {"slerp", "nuslerp", "average"} < set(found)


def test_a_new_method_is_in_it_by_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(merging.known_methods, "_KNOWN", dict(known_methods()))

    @register("a_new_one", paper="https://example.org")
    class New(Method):
        """None."""

        scope = Scope.ELEMENT

        def __call__(self, deltas, weights, context):
            return deltas[0]

    assert "a_new_one" in methods_of(load_experiment(written(tmp_path, methods="all")))


def test_another_word_in_place_of_methods_is_refused(tmp_path):
    with pytest.raises(InputError, match="methods"):
        load_experiment(written(tmp_path, methods="every"))
