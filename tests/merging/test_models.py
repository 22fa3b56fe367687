"""Merged checkpoints open in transformers; tied weights are one weight, stored once or twice."""

import json

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from merging.merge import merge
from results.errors import InputError

SMALL = {"vocab_size": 32, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 2, "num_key_value_heads": 1}
T5 = {"vocab_size": 32, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2}
FAMILIES = {
    "llama": lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(**SMALL, **HEADS)),
    "tied llama": lambda: transformers.LlamaForCausalLM(
        transformers.LlamaConfig(**SMALL, **HEADS, tie_word_embeddings=True)
    ),
    "gpt2": lambda: transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=32, n_embd=16, n_layer=2, n_head=2, n_positions=16)
    ),
    "t5": lambda: transformers.T5ForConditionalGeneration(transformers.T5Config(**T5)),
}
HEAD = {
    "tied llama": ("lm_head.weight", "model.embed_tokens.weight"),
    "gpt2": ("lm_head.weight", "transformer.wte.weight"),
    "t5": ("decoder.embed_tokens.weight", "shared.weight"),
}


@pytest.fixture
def models(request, tmp_path):
    """A base and two experts as folders and as models."""
    made = {}
    for seed, name in enumerate(("base", "a", "b")):
        torch.manual_seed(seed)
        made[name] = FAMILIES[request.param]()
        made[name].save_pretrained(tmp_path / name)
    return request.param, made


@pytest.mark.parametrize("models", FAMILIES, indirect=True)
def test_the_output_opens_and_has_the_average_weights(models, recipe_for, tmp_path):
    family, made = models
    recipe = recipe_for(
        tmp_path / "base", {name: tmp_path / name for name in ("a", "b")}, max_shard_size=4000
    )
    merge(recipe, tmp_path / "out", progress=False)
    opener = transformers.AutoModelForSeq2SeqLM if family == "t5" else transformers.AutoModelForCausalLM
    model, info = opener.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(info.values())
    a, b = made["a"].state_dict(), made["b"].state_dict()
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(weight, (a[name] + b[name]) / 2, rtol=1e-5, atol=1e-6)
    if family in HEAD:
        stored = {n for file in (tmp_path / "out").glob("*.safetensors") for n in load_file(file)}
        assert HEAD[family][0] not in stored
        assert HEAD[family][1] in stored


def store_twice(folder, family, factor=1.0):
    duplicate, embedding = HEAD[family]
    weights = load_file(folder / "model.safetensors")
    weights[duplicate] = weights[embedding] * factor
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("models", HEAD, indirect=True)
@pytest.mark.parametrize("twice", ["base", "a"])
def test_a_tied_weight_may_be_stored_twice(models, recipe_for, tmp_path, twice):
    family, _ = models
    recipe = recipe_for(tmp_path / "base", {name: tmp_path / name for name in ("a", "b")})
    once = merge(recipe, tmp_path / "once", progress=False)
    store_twice(tmp_path / twice, family)
    again = merge(recipe, tmp_path / "again", progress=False)
    assert (once / "model.safetensors").read_bytes() == (again / "model.safetensors").read_bytes()


@pytest.mark.parametrize("models", HEAD, indirect=True)
def test_a_tie_that_the_configuration_leaves_to_the_default(models, recipe_for, tmp_path):
    family, _ = models
    path = tmp_path / "a" / "config.json"
    config = json.loads(path.read_text())
    assert config.pop("tie_word_embeddings", True) is True
    path.write_text(json.dumps(config))
    store_twice(tmp_path / "a", family)
    recipe = recipe_for(tmp_path / "base", {"a": tmp_path / "a"})
    if family == "tied llama":  # Llama's default is not to tie, so the head is a tensor of its own
        with pytest.raises(InputError, match=r"lm_head\.weight.*base ties"):
            merge(recipe, tmp_path / "out", progress=False)
    else:
        merge(recipe, tmp_path / "out", progress=False)


@pytest.mark.parametrize("models", HEAD, indirect=True)
def test_a_stored_duplicate_that_differs_is_refused(models, recipe_for, tmp_path):
    family, _ = models
    store_twice(tmp_path / "a", family, factor=2.0)
    with pytest.raises(InputError) as refusal:
        merge(recipe_for(tmp_path / "base", {"a": tmp_path / "a"}), tmp_path / "out", progress=False)
    for words in (str(tmp_path / "a"), *HEAD[family]):
        assert words in str(refusal.value)
    assert not list(tmp_path.glob("*out*"))


@pytest.mark.parametrize("models", ["t5"], indirect=True)
def test_a_t5_with_its_own_head_keeps_it(models, recipe_for, tmp_path):
    for name in ("base", "a"):
        config = json.loads((tmp_path / name / "config.json").read_text())
        (tmp_path / name / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": False}))
        weights = load_file(tmp_path / name / "model.safetensors")
        weights |= {
            "lm_head.weight": torch.randn(32, 16),
            "encoder.embed_tokens.weight": weights["shared.weight"].clone(),
        }
        save_file(weights, tmp_path / name / "model.safetensors", metadata={"format": "pt"})
    merge(recipe_for(tmp_path / "base", {"a": tmp_path / "a"}), tmp_path / "out", progress=False)
    stored = load_file(tmp_path / "out" / "model.safetensors")
    expert = load_file(tmp_path / "a" / "model.safetensors")
    torch.testing.assert_close(stored["lm_head.weight"], expert["lm_head.weight"])
    assert "encoder.embed_tokens.weight" not in stored
