"""mergekit and PEFT give what our variants of theirs give; where they do otherwise, the test says why."""

from pathlib import Path

import pytest
import torch
from in_memory import merged
from peft.utils import merge_utils
from safetensors.torch import load_file

from bench.examples import load_examples
from bench.suite import load_suite
from manyshot.lab.base import BaseSettings, make_base
from merging.examples import Example
from merging.merge import merge
from merging.methods.ties import Ties
from merging.recipe import Recipe
from merging.train_settings import TrainSettings
from merging.training import train

pytestmark = pytest.mark.slow

WEIGHTS = {"instructions": 1.0, "math": 0.5, "multilingual": 0.7, "safety": 1.3}


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    """A lab family of few training steps, in float32: in bfloat16 most of its magnitudes would be equal."""
    folder = tmp_path_factory.mktemp("family")
    base = make_base(folder / "base", BaseSettings.smoke())
    few = TrainSettings(max_steps=2, batch_size=4, learning_rate=1e-3, cpu=True)
    for name, task in load_suite("lab").tasks.items():
        examples = [Example(*pair) for pair in load_examples(task.training, None)[:8]]
        train(base, examples, few, folder / name)
    return folder


def by_mergekit(family: Path, out: Path, method: str, shared: dict, each: dict) -> dict[str, torch.Tensor]:
    """Merge with mergekit, whose import takes seconds, in float32 and store in bfloat16."""
    from mergekit.config import MergeConfiguration
    from mergekit.merge import run_merge
    from mergekit.options import MergeOptions

    config = {
        "merge_method": method,
        "models": [
            {"model": str(family / name), "parameters": {"weight": weight, **each}}
            for name, weight in WEIGHTS.items()
        ],
        "parameters": shared,
        "dtype": "float32",
        "out_dtype": "bfloat16",
    }
    if method != "linear":
        config["base_model"] = str(family / "base")
    options = MergeOptions(quiet=True, write_model_card=False)  # a card asks the hub
    run_merge(MergeConfiguration.model_validate(config), str(out), options)
    return load_file(out / "model.safetensors")


def by_us(family: Path, out: Path, **method) -> dict[str, torch.Tensor]:
    experts = {name: {"path": family / name, "weight": weight} for name, weight in WEIGHTS.items()}
    recipe = Recipe(base=family / "base", experts=experts, method=method, output_dtype="bfloat16")
    return load_file(merge(recipe, out, progress=False) / "model.safetensors")


TIES = {"name": "ties", "variant": "mergekit", "density": 0.3}


@pytest.mark.parametrize(
    ("theirs", "shared", "each", "ours"),
    [
        ("linear", {}, {}, {"name": "average"}),
        ("task_arithmetic", {"lambda": 0.4}, {}, {"name": "task_arithmetic", "scaling": 0.4}),
        ("ties", {"lambda": 0.8}, {"density": 0.3}, {**TIES, "scaling": 0.8}),
        pytest.param(
            "ties",
            {"normalize": False},
            {"density": 0.3},
            {**TIES, "aggregate": "sum"},
            marks=pytest.mark.full,
        ),
    ],
)
def test_mergekit_stores_the_same_numbers(family, tmp_path, theirs, shared, each, ours):  # noqa: PLR0917
    expected = by_mergekit(family, tmp_path / "theirs", theirs, shared, each)
    found = by_us(family, tmp_path / "ours", **ours)
    assert found.keys() == expected.keys()
    apart = {name: (_steps(found[name]) - _steps(expected[name])).abs() for name in found}
    # Sums in another order differ in the last bit of float32, which may round to the neighbour in bfloat16.
    far = {name: steps > 1 for name, steps in apart.items()}
    if theirs == "ties":
        # Of entries whose magnitude is that of the threshold, mergekit keeps any, and we the first ones.
        at_threshold = _at_threshold(family, density=0.3)
        assert not any((far[name] & ~at_threshold[name]).any() for name in far)
        assert sum(mask.sum() for mask in at_threshold.values()) < 500
    else:
        assert not any(mask.any() for mask in far.values())
    assert torch.cat([steps.flatten() == 0 for steps in apart.values()]).double().mean() > 0.9995


def _at_threshold(family: Path, density: float) -> dict[str, torch.Tensor]:
    """The entries in which some expert's magnitude is its ⌊K·d⌋-th largest of the tensor."""
    base = load_file(family / "base/model.safetensors")
    masks = {name: torch.zeros(weights.shape, dtype=torch.bool) for name, weights in base.items()}
    for expert in WEIGHTS:
        for name, weights in load_file(family / expert / "model.safetensors").items():
            magnitudes = (weights - base[name]).abs()
            kept = max(int(density * magnitudes.numel()), 1)
            masks[name] |= magnitudes == magnitudes.flatten().sort(descending=True).values[kept - 1]
    return masks


def _steps(weights: torch.Tensor) -> torch.Tensor:
    """Number the bfloat16 numbers in their order."""
    bits = weights.view(torch.int16).int()
    return torch.where(bits < 0, -(bits & 0x7FFF), bits)


@pytest.mark.full
def test_mergekits_dare_differs_by_its_scale_and_its_chance(family, tmp_path):
    # mergekit scales what is left so that a tensor's L1 norm stays, where the paper divides by 1 − p, and it
    # draws from torch's generator in the order of its work, where ours draws by expert, tensor and position.
    density = 0.2
    theirs = by_mergekit(family, tmp_path / "theirs", "dare_linear", {}, {"density": density})
    ours = by_us(family, tmp_path / "ours", name="dare", drop_rate=1 - density)
    base = load_file(family / "base/model.safetensors")
    moved = [
        torch.cat([(merged[name].float() - base[name].float()).flatten() for name in sorted(base)])
        for merged in (ours, theirs)
    ]
    assert not torch.equal(*moved)
    changed = [(delta != 0).double().mean().item() for delta in moved]
    assert changed[0] == pytest.approx(changed[1], abs=0.01)
    norms = [delta.norm().item() for delta in moved]
    assert norms[0] == pytest.approx(norms[1], rel=0.02)


@pytest.mark.parametrize("vote", ["total", "frequency"])
def test_peft_gives_what_its_variant_gives(vote):
    random = torch.Generator().manual_seed(3)
    deltas, weights = torch.randn((4, 1003), generator=random), [1.0, 0.5, 2.0, 0.3]
    expected = merge_utils.ties(list(deltas), torch.tensor(weights), 0.3, vote)
    found = merged(Ties(density=0.3, variant="peft", vote=vote), {"w": deltas}, weights)["w"]
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
