"""A new method is one file in `merging/methods/`, known to recipes, the list of methods and experiments."""

import sys
from argparse import Namespace

import pytest
import torch
import yaml
from safetensors.torch import load_file

import merging.methods
from bench.suite import load_suite
from manyshot.check import check_experiment
from manyshot.commands import list as list_command
from manyshot.experiment import load_experiment
from merging.merge import merge
from merging.recipe_file import load_recipe
from results.errors import InputError

TOY = '''"""Keeps the first expert alone."""

from pydantic import Field

from merging.known_methods import register
from merging.method import Method, Scope


@register("first_alone", paper="https://example.org/first-alone")
class FirstAlone(Method):
    """θ = θ₀ + λ τ_1."""

    scope = Scope.ELEMENT

    scaling: float = Field(1.0, gt=0)
    """λ, how far to go."""

    def __call__(self, deltas, weights, context):
        return self.scaling * deltas[0]
'''
EXPERIMENT = {"suite": "lab", "base": "base", "methods": [{"name": "first_alone", "scaling": 0.5}]}


@pytest.fixture
def toy(registry, tmp_path, monkeypatch):
    """A folder of methods beside the project's own, with one file."""
    folder = tmp_path / "methods"
    folder.mkdir()
    (folder / "first_alone.py").write_text(TOY)
    monkeypatch.setattr(merging.methods, "__path__", [*merging.methods.__path__, str(folder)])
    yield
    sys.modules.pop("merging.methods.first_alone", None)


def written(path, content):
    path.write_text(yaml.safe_dump(content))
    return path


def test_a_recipe_knows_it(toy, family, tmp_path):
    base, experts = family
    recipe = {
        "base": str(base),
        "experts": {name: str(path) for name, path in experts.items()},
        "method": {"name": "first_alone", "scaling": 0.5},
    }
    out = merge(load_recipe(written(tmp_path / "recipe.yaml", recipe)), tmp_path / "out", progress=False)
    start, first, merged = (load_file(path / "model.safetensors") for path in (base, experts["a"], out))
    for name in (name for name, tensor in start.items() if tensor.is_floating_point()):
        tensor = start[name]
        torch.testing.assert_close(merged[name], tensor + 0.5 * (first[name] - tensor))


def test_the_list_of_methods_knows_it(toy, capsys):
    options = {"data": None, "store": None}
    list_command.run(Namespace(what="methods", name=None, **options))
    assert "first_alone" in capsys.readouterr().out
    list_command.run(Namespace(what="methods", name="first_alone", **options))
    told = capsys.readouterr().out
    for words in (
        "https://example.org/first-alone",
        "θ = θ₀ + λ τ_1.",
        "scaling",
        "λ, how far to go.",
        "Needs nothing. Reads the experts once.",
        "1.0",
    ):
        assert words in told


def test_an_experiment_knows_it(toy, tmp_path):
    suite = load_suite("lab")
    content = {**EXPERIMENT, "experts": dict.fromkeys(suite.tasks, "expert")}
    check_experiment(load_experiment(written(tmp_path / "experiment.yaml", content)), suite)
    content["methods"] = [{"name": "first_alone", "scaling": 0}]
    with pytest.raises(InputError, match="'scaling' is 0, where a number above 0 is expected"):
        check_experiment(load_experiment(written(tmp_path / "experiment.yaml", content)), suite)
