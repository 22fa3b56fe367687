"""Bad input is refused by name, and leaves neither an output nor a temporary folder."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from toy_checkpoints import VOCAB, tensors

from merging.checkpoints.checkpoint import Checkpoint
from merging.merge import merge
from results.errors import InputError


def changed(**changes):
    """The first expert's tensors with some replaced, or left out where None."""
    weights = tensors(1, like=tensors(0)) | {
        name.replace("__", "."): value for name, value in changes.items()
    }
    return {name: tensor for name, tensor in weights.items() if tensor is not None}


def with_value(name, value):
    weights = changed()
    weights[name].view(-1)[-1] = value
    return weights


UP = "model.layers.1.mlp.up_proj.weight"
EMBEDDING = "model.embed_tokens.weight"


@pytest.mark.parametrize(
    ("expert", "says"),
    [
        ({"weights": changed() | {UP: torch.zeros(13, 8)}}, ["'bad'", UP, "[13, 8]", "[13, 7]"]),
        ({"weights": {n: t for n, t in changed().items() if n != UP}}, ["'bad'", "lacks", UP]),
        ({"weights": changed() | {"model.more": torch.zeros(1)}}, ["'bad'", "'model.more'", "base lacks"]),
        ({"weights": with_value(UP, float("nan"))}, ["'bad'", UP, "NaN"]),
        ({"weights": with_value(UP, float("inf"))}, ["'bad'", UP, "infinity"]),
        (
            {"weights": changed() | {"model.position_ids": torch.arange(5) + 1}},
            ["'bad'", "position_ids", "I64"],
        ),
        (
            {"weights": changed() | {"model.position_ids": torch.arange(5.0)}},
            ["'bad'", "position_ids", "F32"],
        ),
        ({"weights": changed(), "vocab": VOCAB | {"one": 2, "two": 1}}, ["'bad'", "'one'", "id 2", "to 1"]),
        ({"weights": changed(), "config": {"model_type": "gpt2"}}, ["'bad'", "gpt2", "llama"]),
    ],
    ids=lambda value: None if isinstance(value, dict) else "-".join(value)[:40],
)
def test_an_expert_that_does_not_fit(save, recipe_for, tmp_path, expert, says):
    experts = {"good": save("good", changed()), "bad": save("bad", **expert)}
    assert_refused(recipe_for(save("base", tensors(0)), experts), tmp_path, says)


def test_a_base_that_holds_nan(save, recipe_for, tmp_path):
    recipe = recipe_for(save("base", with_value(UP, float("nan"))), {"a": save("a", changed())})
    assert_refused(recipe, tmp_path, ["base", UP, "NaN"])


def test_packed_weights_are_refused_though_they_are_equal_everywhere(save, recipe_for, tmp_path):
    packed = {UP: torch.ones(13, 7, dtype=torch.int8)}
    recipe = recipe_for(save("base", tensors(0) | packed), {"a": save("a", changed() | packed)})
    assert_refused(recipe, tmp_path, [str(tmp_path / "base"), UP, "I8", "quantization_config"])


def test_weights_that_sum_to_zero(family, recipe_for, tmp_path):
    base, experts = family
    weights = (0.1, 0.2, -0.3)
    specs = {
        name: {"path": path, "weight": w} for (name, path), w in zip(experts.items(), weights, strict=True)
    }
    assert_refused(recipe_for(base, specs), tmp_path, ["'average'", "sum", "0"])
    normalized = recipe_for(base, specs, "task_arithmetic", settings={"normalize": True})
    assert_refused(normalized, tmp_path, ["'task_arithmetic'", "sum", "0"])


def test_a_result_that_does_not_fit_the_output_dtype(family, recipe_for, tmp_path):
    base, experts = family
    recipe = recipe_for(base, experts, "task_arithmetic", settings={"scaling": 1e8}, output_dtype="float16")
    assert_refused(recipe, tmp_path, ["F16", "output_dtype"])


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_truncated_file(family, recipe_for, tmp_path, keep):
    base, experts = family
    file = experts["b"] / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    assert_refused(recipe_for(base, experts), tmp_path, [str(file), "not a complete safetensors file"])


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("model-00009-of-00009.safetensors", ["missing", "model-00009"]),
        ("../base/model.safetensors", ["outside its folder", "../base"]),
        ("/etc/passwd", ["outside its folder", "/etc/passwd"]),
        ("model-00003-of-00003.safetensors", ["disagree", UP]),
        (None, ["weight_map"]),
    ],
)
def test_an_index_that_is_wrong(save, recipe_for, tmp_path, place, says):
    base = save("base", tensors(0))
    expert = save("a", changed(), per_shard=3)
    index = expert / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    assert content["weight_map"][UP] != place
    content["weight_map"][UP] = place
    index.write_text(json.dumps(content))
    assert_refused(recipe_for(base, {"a": expert}), tmp_path, [str(expert), *says])


@pytest.mark.parametrize(
    ("present", "says"),
    [
        (["config.json", "pytorch_model.bin"], [".bin", "safetensors"]),
        (["adapter_config.json", "adapter_model.safetensors"], ["adapter of the kind"]),
        (["model.safetensors"], ["config.json"]),
        (["config.json"], ["model.safetensors"]),
    ],
)
def test_a_folder_of_another_kind(family, recipe_for, tmp_path, present, says):
    base, _ = family
    folder = tmp_path / "other"
    folder.mkdir()
    for name in present:
        (folder / name).write_text("{}")
    assert_refused(recipe_for(base, {"a": folder}), tmp_path, [str(folder), *says])


@pytest.mark.parametrize("content", ["{", "[1]", "\xff"])
def test_a_configuration_that_is_no_mapping(family, recipe_for, tmp_path, content):
    base, experts = family
    (experts["a"] / "config.json").write_text(content, encoding="latin-1")
    assert_refused(recipe_for(base, experts), tmp_path, [str(experts["a"] / "config.json")])


def test_a_folder_that_is_not_there(family, recipe_for, tmp_path):
    base, _ = family
    assert_refused(recipe_for(base, {"a": tmp_path / "nowhere"}), tmp_path, ["nowhere", "no such folder"])


def test_a_hub_name_that_cannot_be_fetched(family, recipe_for, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    base, _ = family
    assert_refused(
        recipe_for(base, {"a": "nobody/nothing-of-this-name"}), tmp_path, ["nobody/nothing", "hub"]
    )


def test_a_hub_name_is_fetched_without_other_files(family, monkeypatch):
    base, _ = family
    asked = {}

    def fetch(name, **patterns):
        asked.update(patterns, name=name)
        return str(base)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    assert Checkpoint.open("org/name").folder == base
    assert asked["name"] == "org/name"
    assert "*.safetensors" in asked["allow_patterns"]
    assert not any("bin" in pattern for pattern in asked["allow_patterns"])


def test_a_hub_name_without_safetensors_is_fetched_with_its_bin_files(save, monkeypatch):
    folder = save("old", tensors(0))
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()

    def fetch(name, allow_patterns, **_):
        if any("bin" in pattern for pattern in allow_patterns):
            torch.save(weights, folder / "pytorch_model.bin")
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    assert Checkpoint.open("org/old").names == tuple(sorted(weights))


def test_an_output_that_exists_is_refused_before_anything_is_read(recipe_for, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="exists already"):
        merge(recipe_for(tmp_path / "nowhere", {"a": tmp_path / "nowhere"}), tmp_path / "out", progress=False)
    assert list((tmp_path / "out").iterdir()) == []


def assert_refused(recipe, folder: Path, says: list[str]) -> None:
    with pytest.raises(InputError) as refusal:
        merge(recipe, folder / "out", progress=False)
    for words in says:
        assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert not (folder / "out").exists()
    assert not list(folder.glob(".out*"))
