"""The merged weights are the same, bit for bit, whatever the order, the files, the blocks and the threads."""

import pytest
import torch
from device import DEVICE
from safetensors.torch import load_file
from toy_checkpoints import tensors

from merging.checkpoints.checkpoint import Checkpoint
from merging.merge import merge

pytestmark = pytest.mark.slow

METHODS = [
    ("average", {}),
    ("task_arithmetic", {"scaling": 0.3}),
    ("ties", {"density": 0.3}),
    ("ties", {"density": 0.3, "scope": "tensor", "aggregate": "sum"}),
    ("ties", {"density": 0.3, "variant": "mergekit"}),
    ("ties", {"density": 0.3, "variant": "peft", "vote": "frequency"}),
    ("dare", {"drop_rate": 0.5}),
    ("dare", {"drop_rate": 0.5, "then": "ties"}),
    ("consensus_ta", {"mask_threshold": {"a": 0.2, "b": 0.4, "c": 0.6}}),
    ("breadcrumbs", {"then": "ties"}),
    ("della", {}),
    ("model_stock", {"within": "row"}),
    ("karcher", {}),
    ("sce", {"density": 0.5}),
    ("ram", {"rescale": 0.1, "smallest": 0.05}),
    ("magmax", {}),
    ("emr", {}),
    ("metagpt", {}),
    ("pcb", {"density": 0.3}),
    ("lines", {}),
    ("lines", {"of": {"name": "dare", "then": "ties"}}),
    ("tsv_merge", {}),
    ("iso", {"common": 0.5}),
    ("star", {}),
    ("cart", {}),
    ("knots", {}),
    ("wudi", {"steps": 3}),
    ("doge", {"steps": 3}),
    ("core_space", {"of": {"name": "iso"}}),
    ("cabs", {"keep": 1, "of": 4}),
    ("dc_merge", {"density": 0.2}),
    ("orthomerge", {}),
    ("ace", {}),
]
SAME_BITS = {"average", "task_arithmetic", "ties", "dare", "consensus_ta", "breadcrumbs", "sce", "magmax"}
"""Methods that sum entry by entry, which a GPU does in the same order."""


def digest(folder):
    return Checkpoint.open(folder).identity().weights


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize(("method", "settings"), METHODS)
def test_the_same_weights_come_out(monkeypatch, save, recipe_for, tmp_path, method, settings, dtype):  # noqa: PLR0917
    base = tensors(0, dtype)
    weights = {name: tensors(i, dtype, like=base) for i, name in enumerate("abc", start=1)}
    start = save("base", base)
    experts = {
        name: {"path": save(name, one), "weight": 0.1 * i} for i, (name, one) in enumerate(weights.items(), 1)
    }
    recipe = recipe_for(start, experts, method, settings=settings)
    pieces = {
        name: {"path": save(f"{name} in pieces", one, per_shard=2), "weight": experts[name]["weight"]}
        for name, one in weights.items()
    }
    first = digest(merge(recipe, tmp_path / "first", progress=False))
    backwards = recipe_for(start, dict(reversed(experts.items())), method, settings=settings)
    sharded = recipe_for(start, pieces, method, settings=settings, max_shard_size=100)
    others = [
        merge(backwards, tmp_path / "backwards", progress=False),
        merge(sharded, tmp_path / "sharded", progress=False),
        *(merge(recipe, tmp_path / f"block {size}", False, block_size=size) for size in (3, 19, 64)),
    ]
    for threads in (1, 5):
        monkeypatch.setattr("merging.prepare.torch.get_num_threads", lambda threads=threads: threads)
        others.append(merge(recipe, tmp_path / f"threads {threads}", progress=False, block_size=20))
    assert {digest(out) for out in others} == {first}
    assert first != digest(start)


def test_a_mask_of_dare_does_not_depend_on_the_other_experts_or_their_names(family, recipe_for, tmp_path):
    base, experts = family
    start = load_file(base / "model.safetensors")

    def moved(folders, name):
        out = merge(recipe_for(base, folders, "dare", settings={"drop_rate": 0.5}), tmp_path / name, False)
        return {n: t != start[n] for n, t in load_file(out / "model.safetensors").items()}

    alone = [moved({"z" * i: folder}, f"alone {i}") for i, folder in enumerate(experts.values(), 1)]
    together = moved(experts, "together")
    assert all(torch.equal(together[n], alone[0][n] | alone[1][n] | alone[2][n]) for n in together)
    assert not torch.equal(alone[0]["model.embed_tokens.weight"], alone[1]["model.embed_tokens.weight"])


@pytest.mark.skipif(DEVICE == "cpu", reason="MANYSHOT_TEST_DEVICE names no GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize(("method", "settings"), METHODS)
def test_a_gpu_merges_to_the_same_weights(save, recipe_for, tmp_path, method, settings, dtype):  # noqa: PLR0917
    base = tensors(0, dtype)
    experts = {name: save(name, tensors(i, dtype, like=base)) for i, name in enumerate("abc", start=1)}
    recipe = recipe_for(save("base", base), experts, method, settings=settings)
    on_cpu = merge(recipe, tmp_path / "on a CPU", progress=False)
    on_gpu = merge(recipe, tmp_path / "on a GPU", progress=False, device=DEVICE)
    if method in SAME_BITS:
        assert digest(on_gpu) == digest(on_cpu)
    there = load_file(on_gpu / "model.safetensors")
    for name, tensor in load_file(on_cpu / "model.safetensors").items():
        torch.testing.assert_close(there[name], tensor, msg=lambda text, name=name: f"{name}: {text}")
