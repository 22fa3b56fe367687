"""The recipes of docs/guide/task-vector-operations.md give the sums that the page says."""

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from toy_checkpoints import tensors

from merging.merge import merge
from merging.recipe_file import load_recipe
from results.errors import InputError

PAGE = Path(__file__).parents[2] / "docs/guide/task-vector-operations.md"
RECIPES = dict(re.findall(r"^```yaml (\S+)\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL))
NAMED = ("base", "math", "safety", "toxic", "texts-2", "labels-1", "texts-1")


@pytest.fixture
def models(save, tmp_path):
    (tmp_path / "models").mkdir()
    start = tensors(0)
    made = {name: start if name == "base" else tensors(i, like=start) for i, name in enumerate(NAMED)}
    for name, weights in made.items():
        save(f"models/{name}", weights)
    return made


@pytest.mark.parametrize(
    "file, expected",
    [
        ("addition.yaml", {"math": 0.4, "safety": 0.4}),
        ("forgetting.yaml", {"toxic": -0.5}),
        ("analogy.yaml", {"texts-2": 0.6, "labels-1": 0.6, "texts-1": -0.6}),
    ],
)
def test_a_recipe_of_the_page_is_the_sum_that_it_names(models, tmp_path, file, expected):
    (tmp_path / file).write_text(RECIPES[file], encoding="utf-8")
    out = merge(load_recipe(tmp_path / file), tmp_path / "out", progress=False)
    for name, found in load_file(out / "model.safetensors").items():
        start = models["base"][name]
        if start.is_floating_point():
            moved = sum(by * (models[expert][name] - start) for expert, by in expected.items())
            torch.testing.assert_close(found, start + moved)


@pytest.mark.parametrize("method", ["ties", "emr", "sce"])
def test_elections_refuse_the_weights_that_forget(models, tmp_path, method):
    text = RECIPES["forgetting.yaml"].replace("task_arithmetic, scaling: 0.5", method)
    (tmp_path / "elected.yaml").write_text(text)
    with pytest.raises(InputError, match="0 or more"):
        merge(load_recipe(tmp_path / "elected.yaml"), tmp_path / "out", progress=False)
