"""Settings that differ over the depth or by the tensors' names, against merges worked out by hand."""

import json

import pytest
import torch
from safetensors.torch import load_file

from merging.layers import LayerPosition
from merging.merge import merge
from merging.prepare import prepare
from merging.recipe import Recipe
from merging.varying import reader
from results.errors import InputError

BLOCKS, TENSORS = 5, ("model.embed.weight", "model.norm.weight")
NAMES = [f"model.layers.{i}.{part}.weight" for i in range(BLOCKS) for part in ("attn", "mlp")]


@pytest.fixture
def deep(save):
    """A base of zeros in five blocks, and two experts."""
    draw = torch.Generator().manual_seed(0)
    shapes = dict.fromkeys([*NAMES, *TENSORS], (6, 4))
    base = {name: torch.zeros(shape) for name, shape in shapes.items()}
    save("base", base)
    experts = {}
    for name in "ab":
        experts[name] = {key: torch.randn(shape, generator=draw) for key, shape in shapes.items()}
        save(name, experts[name])
    return experts


def merged(folder, method, a=1.0, b=1.0, name="out"):
    recipe = Recipe(
        base=folder / "base",
        experts={"a": {"path": folder / "a", "weight": a}, "b": {"path": folder / "b", "weight": b}},
        method=method,
    )
    out = merge(recipe, folder / name, progress=False)
    return load_file(out / "model.safetensors"), json.loads((out / "merge.json").read_text())


def test_a_list_goes_over_the_depth_and_starts_outside_of_the_blocks(deep, tmp_path):
    found, report = merged(tmp_path, {"name": "task_arithmetic", "scaling": [0.0, 1.0, 0.5]})
    expected = [0.0, 0.5, 1.0, 0.75, 0.5]
    for name, tensor in found.items():
        scaling = expected[int(name.split(".")[2])] if "layers" in name else 0.0
        assert torch.allclose(tensor, scaling * (deep["a"][name] + deep["b"][name]), atol=1e-6)
    assert report["recipe"]["method"]["scaling"] == [0.0, 1.0, 0.5]


def test_the_first_filter_in_the_name_counts(deep, tmp_path):
    weight = [
        {"filter": "mlp", "value": [0.0, 4.0]},
        {"filter": "layers.3.", "value": 9.0},
        {"filter": "norm", "value": -1.0},
        {"filter": "*", "value": 0.5},
    ]
    found, report = merged(tmp_path, {"name": "task_arithmetic"}, a=weight, b=0.25)
    for name, tensor in found.items():
        block = int(name.split(".")[2]) if "layers" in name else None
        own = block if "mlp" in name else 9.0 if block == 3 else -1.0 if "norm" in name else 0.5
        assert torch.allclose(tensor, own * deep["a"][name] + 0.25 * deep["b"][name], atol=1e-6)
    assert "as below" in (tmp_path / "out/README.md").read_text()
    assert report["recipe"]["experts"]["a"]["weight"] == weight


def test_thresholds_within_tensors_are_those_of_each_tensors_own_density(deep, tmp_path):
    ties = {"name": "ties", "variant": "mergekit"}
    density = [{"filter": "mlp", "value": [0.25, 0.75]}, {"value": 0.5}]
    found, _ = merged(tmp_path, {**ties, "density": density})
    for part, i, share in (("mlp", 0, 0.25), ("mlp", 2, 0.5), ("mlp", 4, 0.75), ("attn", 4, 0.5)):
        alone, _ = merged(tmp_path, {**ties, "density": share}, name=f"{part} {i} {share}")
        name = f"model.layers.{i}.{part}.weight"
        assert torch.equal(found[name], alone[name]) and found[name].any()


def test_the_same_for_all_tensors_is_the_same_merge(deep, tmp_path):
    method = {"name": "dare", "drop_rate": 0.5}
    plain, _ = merged(tmp_path, method)
    listed, _ = merged(tmp_path, {**method, "drop_rate": [{"value": [0.5, 0.5]}]}, a=[1.0], name="listed")
    assert all(torch.equal(plain[name], listed[name]) for name in plain)


def test_a_mapping_by_task_may_differ_too(deep, tmp_path):
    method = {"name": "consensus_ta", "consensus": 1}
    found, _ = merged(tmp_path, {**method, "mask_threshold": {"a": [0.2, 5.0], "b": 0.3}})
    first, _ = merged(tmp_path, {**method, "mask_threshold": {"a": 0.2, "b": 0.3}}, name="first")
    last, _ = merged(tmp_path, {**method, "mask_threshold": {"a": 5.0, "b": 0.3}}, name="last")
    assert torch.equal(found[NAMES[0]], first[NAMES[0]]) and torch.equal(found[NAMES[-1]], last[NAMES[-1]])
    assert not torch.equal(first[NAMES[0]], last[NAMES[0]])


@pytest.mark.parametrize(
    ("method", "weight", "says"),
    [
        ({"name": "ties", "density": [0.1, 0.5]}, 1.0, ["'ties'", "whole model", "scope: tensor"]),
        ({"name": "average", "scaling": [0.1, 0.5]}, 1.0, ["'scaling'", "unknown"]),
        ({"name": "task_arithmetic", "scaling": []}, 1.0, ["'method.scaling'", "list"]),
        ({"name": "task_arithmetic", "scaling": [1, {"value": 2}]}, 1.0, ["'method.scaling'", "list"]),
        ({"name": "task_arithmetic", "scaling": [{"filter": "mlp", "value": 2}]}, 1.0, ["no value", "embed"]),
        ({"name": "task_arithmetic", "scaling": [{"fliter": "mlp", "value": 2}]}, 1.0, ["fliter"]),
        ({"name": "dare", "drop_rate": [0.5, 7]}, 1.0, ["'drop_rate'", "below 1"]),
        ({"name": "task_arithmetic", "scaling": [float("nan"), 1]}, 1.0, ["'method.scaling'", "nan"]),
        (
            {"name": "task_arithmetic", "scaling": [{"layers": [2, 2], "value": 2}]},
            1.0,
            ["layers", "expected"],
        ),
        (
            {"name": "task_arithmetic", "scaling": [{"layers": [-1, 2], "value": 2}]},
            1.0,
            ["layers", "from 0"],
        ),
        (
            {"name": "task_arithmetic", "scaling": [{"layers": [2, 7], "value": 2}]},
            1.0,
            ["2 to before 7", "has 5"],
        ),
        ({"name": "ram", "rescale": [0.1, 0.5]}, 1.0, ["'ram'", "whole model", "within: tensor"]),
        ({"name": "ram", "rescale": 0.1}, [0.5, 1.0], ["'ram'", "whole model"]),
        ({"name": "average"}, ["much", "more"], ["experts.a.weight", "number"]),
    ],
    ids=str,
)
def test_what_cannot_differ_is_refused(deep, tmp_path, method, weight, says):
    with pytest.raises(InputError) as refusal:
        merged(tmp_path, method, a=weight)
    assert all(words in str(refusal.value) for words in says), str(refusal.value)
    assert not (tmp_path / "out").exists()


def test_the_only_block_has_the_last_value_and_words_are_not_mixed():
    assert reader([1.0, 3.0], "s")("x", LayerPosition(0, 1)) == 3.0
    assert reader([1.0, 3.0], "s")("x", LayerPosition(None, 4)) == 1.0
    assert reader([True, False], "s")("x", LayerPosition(1, 3)) is True
    assert reader(["sum", "mean"], "s")("x", LayerPosition(2, 3)) == "mean"


def test_tensors_with_equal_settings_are_one_group(deep, tmp_path):
    recipe = Recipe(
        base=tmp_path / "base",
        experts={"a": tmp_path / "a"},
        method={"name": "task_arithmetic", "scaling": [{"filter": "mlp", "value": 1.0}, {"value": 2.0}]},
    )
    groups = prepare(recipe).groups
    assert [len(group.names) for group in groups] == [7, 5]
    assert {group.method.scaling for group in groups} == {1.0, 2.0}


def test_a_value_may_be_for_some_blocks_over_which_its_list_goes():
    value = [
        {"layers": [2, 5], "filter": "mlp", "value": [0.0, 1.0]},
        {"layers": [0, 3], "value": 7.0},
        {"value": 9.0},
    ]
    found = [reader(value, "s")("mlp", LayerPosition(place, 6)) for place in range(6)]
    assert found == [7.0, 7.0, 0.0, 0.5, 1.0, 9.0]
    assert reader(value, "s")("attn", LayerPosition(2, 6)) == 7.0
    assert reader(value, "s")("mlp", LayerPosition(None, 6)) == 9.0


def test_rams_counts_within_a_tensor_are_the_same_among_others(deep, tmp_path):
    ram = {"name": "ram", "within": "tensor", "smallest": 0.5}
    found, _ = merged(tmp_path, {**ram, "rescale": [{"filter": "mlp", "value": 0.5}, {"value": 0.1}]})
    for part, rescale in (("mlp", 0.5), ("attn", 0.1)):
        alone, _ = merged(tmp_path, {**ram, "rescale": rescale}, name=part)
        name = f"model.layers.1.{part}.weight"
        assert torch.equal(found[name], alone[name])
    # Without RAM+'s scale nothing is counted, and weights may differ.
    merged(tmp_path, {"name": "ram"}, a=[0.5, 1.0], name="plain")


def test_a_setting_is_read_once_for_all_tensors(deep, tmp_path, monkeypatch):
    from merging import varying

    read, count = varying._entries, []
    monkeypatch.setattr(varying, "_entries", lambda value: count.append(value) or read(value))
    recipe = Recipe(
        base=tmp_path / "base",
        experts={"a": {"path": tmp_path / "a", "weight": [0.0, 1.0]}},
        method={"name": "task_arithmetic", "scaling": [0.5, 1.0]},
    )
    count.clear()
    prepare(recipe)
    assert len(count) == 2
