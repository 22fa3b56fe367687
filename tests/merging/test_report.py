"""The report of a merge and its model card, held against numbers worked out from the weights."""

import json

import pytest
import torch
import yaml
from safetensors.torch import load_file

from merging.arithmetic import weighted_sum
from merging.merge import merge

UP = "model.layers.0.mlp.up_proj.weight"


def vectors(base, experts, name):
    start = load_file(base / "model.safetensors")[name]
    return [load_file(folder / "model.safetensors")[name] - start for folder in experts.values()]


@pytest.fixture
def report(family, recipe_for, tmp_path):
    def made(method, **more):
        base, experts = family
        out = merge(recipe_for(base, experts, method, **more), tmp_path / "out", progress=False)
        return json.loads((out / "merge.json").read_text())

    return made


def test_norms_density_and_agreement_are_those_of_the_weights(family, report):
    base, experts = family
    found = report("task_arithmetic", settings={"scaling": 0.5})["tensors"][UP]
    deltas = vectors(base, experts, UP)
    merged = 0.5 * sum(deltas)
    assert found["entries"] == merged.numel()
    assert found["norm"] == pytest.approx(merged.norm().item(), rel=1e-4)
    assert found["density"] == 1
    for (name, one), delta in zip(found["experts"].items(), deltas, strict=True):
        assert one["norm"] == pytest.approx(delta.norm().item(), rel=1e-4), name
        assert one["sign_agreement"] == ((delta * merged) > 0).double().mean().item()
        assert (one["density"], one["kept"]) == (1, None)


def test_what_is_kept_is_counted_for_each_expert(report):
    found = report("ties", settings={"density": 0.2})
    for expert in found["model"]["experts"].values():
        assert expert["kept"] * found["model"]["entries"] == int(0.2 * found["model"]["entries"]) + 1
    assert {one["experts"]["a"]["kept"] for one in found["tensors"].values()} != {0.2}
    assert found["model"]["density"] < 0.6


def test_consensus_says_what_each_experts_mask_holds(family, report):
    found = report("consensus_ta", settings={"consensus": 4})["tensors"][UP]
    deltas = vectors(*family, UP)
    masks = [delta.abs() > 0.4 * (sum(deltas) - delta).abs() for delta in deltas]
    kept = [expert["kept"] for expert in found["experts"].values()]
    assert kept == pytest.approx([mask.double().mean().item() for mask in masks], abs=0.02)
    assert found["density"] == 0


def test_dropping_by_chance_keeps_its_share(family, save, recipe_for, tmp_path):
    base = save("zeros", {"w": torch.zeros(300, 400)})
    experts = {"one": save("one", {"w": torch.ones(300, 400)})}
    out = merge(recipe_for(base, experts, "dare", settings={"drop_rate": 0.9}), tmp_path / "out", False)
    (found,) = json.loads((out / "merge.json").read_text())["tensors"].values()
    assert found["experts"]["one"]["kept"] == pytest.approx(0.1, abs=0.005)
    assert found["experts"]["one"]["kept"] == found["density"]


@pytest.mark.parametrize(("dtype", "loses"), [("float32", 1e-7), ("float16", 1e-3), ("bfloat16", 1e-2)])
def test_the_rounding_loss_is_the_stored_deltas_distance(family, recipe_for, tmp_path, dtype, loses):
    base, experts = family
    out = merge(recipe_for(base, experts, output_dtype=dtype), tmp_path / "out", progress=False)
    found = json.loads((out / "merge.json").read_text())["tensors"][UP]["rounding"]
    start, stored = (load_file(f / "model.safetensors")[UP].double() for f in (base, out))
    third = torch.full((3,), 1 / 3)
    merged = weighted_sum(torch.stack(vectors(base, experts, UP)), third).double()
    expected = ((stored - start - merged).norm() / merged.norm()).item()
    assert found == pytest.approx(expected, rel=1e-2)
    assert loses / 30 < found < loses * 30


def test_an_expert_that_is_the_base_has_no_shares(family, recipe_for, tmp_path):
    base, _ = family
    out = merge(recipe_for(base, {"same": base}), tmp_path / "out", progress=False)
    found = json.loads((out / "merge.json").read_text())["model"]
    assert (found["norm"], found["density"], found["rounding"]) == (0, 0, None)
    assert found["experts"]["same"]["sign_agreement"] is None


def test_the_report_names_seconds_inputs_and_paper(family, report):
    found = report("dare")
    assert set(found["seconds"]) == {"open", "digests", "first passes", "merge"}
    assert found["memory"] is None or 0 <= found["memory"] < 2**30
    assert found["paper"].endswith("2311.03099")
    assert list(found["inputs"]["experts"]) == ["a", "b", "c"]
    assert "model.position_ids" not in found["tensors"]


def test_the_model_card_tells_a_reader_what_this_is_and_not_where_it_was_made(family, recipe_for, tmp_path):
    base, experts = family
    specs = {name: {"path": path, "weight": 0.5} for name, path in experts.items()}
    out = merge(recipe_for(base, specs, "ties"), tmp_path / "out", progress=False)
    card = (out / "README.md").read_text()
    header = yaml.safe_load(card.split("---")[1])
    assert header == {"library_name": "transformers", "tags": ["merge", "manyshot"]}
    assert "[`ties`](https://arxiv.org/abs/2306.01708)" in card
    assert "| a | `a` | 0.5 |" in card
    assert str(tmp_path) not in card
    assert "density: 0.2" in card
