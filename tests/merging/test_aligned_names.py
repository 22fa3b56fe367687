"""Experts in other forms of the base: with old buffers, under a wrapper's prefix, without some tensors."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import tiny_llama

from merging.merge import merge
from merging.recipe import Recipe
from results.errors import InputError

UP = "model.layers.1.mlp.up_proj.weight"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_llama(tmp_path_factory.mktemp("aligned") / "base")


@pytest.fixture(scope="module")
def whole(base):
    return tiny_llama(base.parent / "expert", seed=1)


def rewritten(expert, folder, change):
    """An expert whose tensors were changed by a function of them."""
    folder.mkdir()
    for file in expert.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    save_file(
        change(load_file(expert / "model.safetensors")),
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    return folder


def merged(base, experts, out, **settings):
    recipe = Recipe(
        base=base, experts=experts, method={"name": "task_arithmetic", "scaling": 1.0}, **settings
    )
    merge(recipe, out, progress=False)
    return load_file(out / "model.safetensors"), json.loads((out / "merge.json").read_text())["notices"]


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-5, atol=1e-6)


FREQUENCIES = {f"model.layers.{i}.self_attn.rotary_emb.inv_freq": torch.tensor([1.0, 0.1]) for i in (0, 1)}


@pytest.mark.parametrize("who", ["expert", "base"])
def test_rotary_frequencies_that_only_one_stores_are_left_out(base, whole, tmp_path, who):
    old = rewritten(base if who == "base" else whole, tmp_path / "old", lambda own: own | FREQUENCIES)
    pair = (old, whole) if who == "base" else (base, old)
    found, notices = merged(pair[0], {"a": pair[1]}, tmp_path / "out")
    assert_same(found, load_file(whole / "model.safetensors"))
    (notice,) = notices
    assert "rotary_emb.inv_freq' (and 1 more)" in notice
    assert ("the base" if who == "base" else "expert 'a'") in notice


PREFIXES = {
    "language_model.": lambda name: f"language_model.{name}",
    "_orig_mod.": lambda name: f"_orig_mod.{name}",
    "model.language_model.": lambda name: name.replace("model.", "model.language_model.", 1),
}


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_wrappers_prefix_is_matched_by_what_follows_it(base, whole, tmp_path, prefix):
    wrapped = rewritten(
        whole, tmp_path / "wrapped", lambda own: {PREFIXES[prefix](name): own[name] for name in own}
    )
    found, notices = merged(base, {"a": wrapped}, tmp_path / "out")
    assert_same(found, load_file(whole / "model.safetensors"))
    assert any(f"`{prefix}`" in notice for notice in notices)


def test_names_that_no_single_prefix_explains_are_refused(base, whole, tmp_path):
    def mixed(own):
        return {(f"a.{name}" if "layers.0" in name else f"b.{name}"): own[name] for name in own}

    with pytest.raises(InputError, match=r"lacks tensor 'lm_head\.weight'"):
        merged(base, {"a": rewritten(whole, tmp_path / "mixed", mixed)}, tmp_path / "out")


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("model.scale.weight", "adapter.gate.weight"),  # only the last part is alike
        ("model.layers.0.scale.weight", "model.layers.0.gate.scale.weight"),  # no prefix of the model
        ("model.scale.norm.weight", "model.gate.norm.weight"),  # not a wrapper's
        ("model.final.weight", "model.wrapped.final.weight"),  # one tensor of those under `model.`
    ],
)
def test_two_tensors_that_only_one_side_has_are_not_taken_for_one(base, whole, tmp_path, ours, theirs):
    def with_one(name):
        return lambda own: own | {name: torch.ones(3)}

    start = rewritten(base, tmp_path / "base", with_one(ours))
    other = rewritten(whole, tmp_path / "other", with_one(theirs))
    with pytest.raises(InputError, match="lacks tensor") as refusal:
        merged(start, {"a": other}, tmp_path / "out")
    assert repr(ours) in str(refusal.value)


@pytest.mark.parametrize("missing", ["base", "skip"])
def test_a_tensor_that_an_expert_lacks(base, whole, tmp_path, missing):
    other = tiny_llama(tmp_path / "other", seed=2)
    partial = rewritten(
        whole,
        tmp_path / "partial",
        lambda own: {name: own[name] for name in own if name != UP} | {"model.more": torch.ones(2)},
    )
    with pytest.raises(InputError, match=r"lacks tensor.*up_proj.*`missing: base`"):
        merged(base, {"a": partial, "b": other}, tmp_path / "refused")
    found, notices = merged(base, {"a": partial, "b": other}, tmp_path / "out", missing=missing)
    ours, a, b = (load_file(one / "model.safetensors") for one in (base, whole, other))
    expected = {name: a[name] + b[name] - ours[name] for name in ours}
    expected[UP] = b[UP] if missing == "base" else ours[UP]
    assert_same(found, expected)
    assert any(f"lacks '{UP}'" in notice for notice in notices)
    assert any("'model.more' that the base lacks" in notice for notice in notices)
