"""Adapters made by peft: what each makes of its base, and merging them in both spaces."""

import json

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from tiny import tiny_llama
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from merging.checkpoints.adapted import open_checkpoint
from merging.checkpoints.checkpoint import Checkpoint
from merging.merge import merge
from merging.recipe import Recipe
from results.errors import InputError

TARGETS = ["q_proj", "v_proj", "up_proj"]


def adapter(base, folder, seed, targets=TARGETS, **options):
    """An adapter of random factors, saved by peft."""
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base),
        LoraConfig(**{"r": 4, "lora_alpha": 6, "target_modules": targets, **options}),
    )
    random = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = 0.1 * torch.randn(parameter.shape, generator=random)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_llama(tmp_path_factory.mktemp("adapters") / "base")


@pytest.fixture(scope="module")
def adapters(base):
    return {name: adapter(base, base.parent / name, i) for i, name in enumerate(("a", "b", "c"))}


def by_peft(base, folder):
    """The whole model that peft makes of an adapter and its base."""
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder)
    return model.merge_and_unload().state_dict()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_rslora": True},
        {"rank_pattern": {"up_proj": 2}, "alpha_pattern": {"layers.1.self_attn.q_proj": 3}},
        {"targets": ["embed_tokens", "q_proj"]},
        {"targets": ["k_proj"], "modules_to_save": ["norm"]},
        {"bias": "none", "targets": "all-linear"},
    ],
)
def test_an_adapter_is_the_checkpoint_that_peft_makes_of_it(base, tmp_path, options):
    folder = adapter(base, tmp_path / "adapter", 7, **options)
    opened = open_checkpoint(folder)
    expected = by_peft(base, folder)
    changed = 0
    for name in opened.names:
        torch.testing.assert_close(opened.tensor(name).float(), expected[name], rtol=1e-6, atol=1e-6)
        changed += not torch.equal(opened.tensor(name).float(), Checkpoint.open(base).tensor(name))
    assert changed >= 2
    named = open_checkpoint(f"{base}+{folder}")
    assert named.identity() == opened.identity() != open_checkpoint(base).identity()


def test_a_transposed_layer(tmp_path):
    GPT2LMHeadModel(GPT2Config(vocab_size=20, n_embd=8, n_layer=1, n_head=2)).save_pretrained(
        tmp_path / "gpt2"
    )
    folder = adapter(tmp_path / "gpt2", tmp_path / "adapter", 1, ["c_attn"], fan_in_fan_out=True)
    opened, expected = open_checkpoint(folder), by_peft(tmp_path / "gpt2", folder)
    for name in opened.names:
        torch.testing.assert_close(opened.tensor(name), expected[name], rtol=1e-6, atol=1e-6)


def recipe(base, experts, space, method="metis", **settings):
    weighted = {
        name: {"path": path, "weight": w} for (name, path), w in zip(experts.items(), (1, 2, 5), strict=False)
    }
    return Recipe(base=base, experts=weighted, method={"name": method, **settings}, space=space)


def metis(vectors, alphas, ratio=0.3, k=2):
    """Steps 4 to 6 of METIS for one tensor, from vectors (tasks, …)."""
    own = np.stack([alpha * vector for alpha, vector in zip(alphas, vectors, strict=True)]).astype(np.float64)
    total = own.sum(0)
    masks = np.abs(own) >= ratio * np.abs(total - own)
    return np.where(masks.sum(0) >= k, total, 0.0)


ALPHAS = (1 / 8, 2 / 8, 5 / 8)


def test_metis_in_the_space_of_products(base, adapters, tmp_path):
    out = merge(recipe(base, adapters, "delta"), tmp_path / "merged", progress=False)
    origin, found = load_file(base / "model.safetensors"), load_file(out / "model.safetensors")
    experts = [by_peft(base, folder) for folder in adapters.values()]
    for name in origin:
        vectors = [(expert[name] - origin[name]).numpy() for expert in experts]
        expected = origin[name].numpy() + metis(vectors, ALPHAS)
        # Where two sides of the mask's comparison are equal to rounding, either answer is right.
        assert (np.abs(found[name].numpy() - expected) < 1e-6).mean() > 0.999
    AutoModelForCausalLM.from_pretrained(out)


@pytest.mark.parametrize("anchor", ["base", "previous"])
def test_metis_in_the_space_of_factors(base, adapters, tmp_path, anchor):
    origin = {"base": base, "previous": adapter(base, tmp_path / "previous", 9)}[anchor]
    out = merge(recipe(origin, adapters, "factors"), tmp_path / "merged", progress=False)
    found = load_file(out / "adapter_model.safetensors")
    experts = [load_file(folder / "adapter_model.safetensors") for folder in adapters.values()]
    for name in found:
        start = load_file(origin / "adapter_model.safetensors")[name] if anchor == "previous" else 0
        vectors = [(expert[name] - start).numpy() for expert in experts]
        expected = start + torch.from_numpy(metis(vectors, ALPHAS)).float()
        torch.testing.assert_close(found[name], expected, rtol=0, atol=1e-6)
    report = json.loads((out / "merge.json").read_text())
    assert 0 < report["model"]["mask_density"] < 1
    merged = by_peft(base, out)
    opened = open_checkpoint(out)
    assert all(torch.allclose(opened.tensor(name), merged[name], atol=1e-6) for name in opened.names)


@pytest.mark.parametrize("space", ["delta", "factors"])
def test_the_merged_weights_do_not_depend_on_blocks(base, adapters, tmp_path, space):
    outs = [
        merge(recipe(base, adapters, space), tmp_path / str(size), progress=False, block_size=size)
        for size in (97, 10**6)
    ]
    file = {"delta": "model.safetensors", "factors": "adapter_model.safetensors"}[space]
    assert len({(out / file).read_bytes() for out in outs}) == 1


@pytest.mark.parametrize("k, expected", [(0, "sum"), (4, "base")])
def test_no_consensus_and_too_much(base, adapters, tmp_path, k, expected):
    out = merge(recipe(base, adapters, "delta", consensus=k, mask_ratio=0.0), tmp_path / "m", progress=False)
    origin, found = load_file(base / "model.safetensors"), load_file(out / "model.safetensors")
    experts = [open_checkpoint(folder) for folder in adapters.values()]
    for name, start in origin.items():
        total = sum(a * (e.tensor(name) - start) for a, e in zip(ALPHAS, experts, strict=True))
        torch.testing.assert_close(
            found[name], start + (total if expected == "sum" else 0), rtol=0, atol=1e-6
        )


@pytest.mark.parametrize(
    "options, complaint",
    [
        ({"r": 3}, "with r 3"),
        ({"lora_alpha": 5}, "lora_alpha 5"),
        ({"targets": ["q_proj"]}, "target_modules"),
    ],
)
def test_unlike_factors_are_refused_and_their_products_merged(base, adapters, tmp_path, options, complaint):
    odd = {**adapters, "odd": adapter(base, tmp_path / "odd", 1, **options)}
    experts = {name: {"path": path, "weight": 1} for name, path in odd.items()}
    of = {"base": base, "experts": experts, "method": {"name": "average"}}
    with pytest.raises(InputError, match=complaint):
        merge(Recipe(**of, space="factors"), tmp_path / "factors", progress=False)
    assert not (tmp_path / "factors").exists()
    merge(Recipe(**of, space="delta"), tmp_path / "delta", progress=False)


def test_what_is_no_plain_adapter_is_refused(base, adapters, tmp_path):
    dora = adapter(base, tmp_path / "dora", 1, use_dora=True)
    with pytest.raises(InputError, match=r"`use_dora`.*space 'delta'"):
        merge(recipe(base, {"a": adapters["a"], "b": dora}, "factors"), tmp_path / "out", progress=False)
    other = tiny_llama(tmp_path / "other", width=64)
    with pytest.raises(InputError, match=r"was trained on .*base, which is not .*other"):
        open_checkpoint(f"{other}+{adapters['a']}")
    with pytest.raises(InputError, match="is no adapter"):
        merge(recipe(base, {"a": adapters["a"], "b": base}, "factors"), tmp_path / "out", progress=False)


def test_learned_coefficients_are_not_of_factors(base, adapters, tmp_path):
    learned = recipe(base, adapters, "factors", "divmerge", coefficients=dict.fromkeys(adapters, 0.5))
    with pytest.raises(InputError, match="whole task vectors: take the space 'delta'"):
        merge(learned, tmp_path / "out", progress=False)


def test_factors_of_other_bases_are_refused(base, adapters, tmp_path):
    other = tiny_llama(tmp_path / "other", seed=5)
    odd = adapter(other, tmp_path / "odd", 1)
    with pytest.raises(
        InputError, match=r"Expert 'b' is an adapter of .*other, and the base is of other weights"
    ):
        merge(recipe(base, {"a": adapters["a"], "b": odd}, "factors"), tmp_path / "out", progress=False)
    with pytest.raises(InputError, match=r"Expert 'a' is an adapter of .*base, and the base is of other"):
        merge(recipe(other, {"a": adapters["a"]}, "factors"), tmp_path / "out", progress=False)
    with pytest.raises(InputError, match=r"The base is an adapter of .*other"):
        merge(recipe(odd, {"a": adapters["a"]}, "factors"), tmp_path / "out", progress=False)
