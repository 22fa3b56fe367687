"""Every kind of LoRA says, merged alone, what peft's model says; what cannot is refused by name."""

import json

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from tied_adapters import TOKENS, logits, peft_logits, tied_adapter
from tiny import tiny_llama
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel

from merging.checkpoints.adapted import open_checkpoint
from merging.checkpoints.peft_models import adapted
from merging.merge import merge
from merging.recipe import Recipe
from results.errors import InputError

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
KINDS = {
    "DoRA": {"target_modules": ALL, "use_dora": True},
    "DoRA of the embedding": {"target_modules": ["embed_tokens", "q_proj"], "use_dora": True},
    "DoRA, rsLoRA, patterns": {
        "target_modules": ALL,
        "use_dora": True,
        "use_rslora": True,
        "rank_pattern": {"up_proj": 2},
        "alpha_pattern": {"layers.1.self_attn.q_proj": 3},
    },
    "biases": {"target_modules": ["q_proj", "v_proj"], "lora_bias": True},
    "biases, rsLoRA": {"target_modules": ["q_proj"], "lora_bias": True, "use_rslora": True},
    "the base's biases": {"target_modules": ["q_proj"], "bias": "all"},
    "single tokens": {"target_modules": ["q_proj"], "trainable_token_indices": [7, 3, 5]},
    "single tokens of the head": {
        "target_modules": ["q_proj"],
        "trainable_token_indices": {"lm_head": [8], "embed_tokens": [4, 3]},
    },
    "modules": {"target_modules": ["q_proj"], "modules_to_save": ["norm", "embed_tokens", "lm_head"]},
    "head and embedding": {"target_modules": ["embed_tokens", "lm_head"]},
    "rsLoRA": {"target_modules": ALL, "use_rslora": True},
}
TIED = {
    "single tokens": {"target_modules": ["q_proj"], "trainable_token_indices": [7, 3, 5]},
    "DoRA of the embedding": {"target_modules": ["embed_tokens"], "use_dora": True},
    "DoRA of the head": {"target_modules": ["lm_head"], "use_dora": True},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """With biases in its attention, and weights small enough that float32 tells logits to 1e-5."""
    folder = tmp_path_factory.mktemp("kinds") / "base"
    return tiny_llama(folder, attention_bias=True, initializer_range=0.05)


@pytest.fixture(scope="module")
def tied(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tied kinds") / "base"
    return tiny_llama(folder, tie_word_embeddings=True, initializer_range=0.05)


def merged(base, adapter, out, **settings):
    recipe = Recipe(
        base=base, experts={"a": adapter}, method={"name": "task_arithmetic", "scaling": 1.0}, **settings
    )
    return merge(recipe, out, progress=False)


def assert_same_model(base, adapter, out):
    expected = peft_logits(base, adapter)
    assert (expected - logits(base)).abs().max() > 1e-3
    torch.testing.assert_close(logits(merged(base, adapter, out)), expected, rtol=1e-5, atol=1e-5)
    scored = adapted(AutoModelForCausalLM.from_pretrained(base), adapter).eval()
    with torch.inference_mode():
        torch.testing.assert_close(scored(TOKENS).logits, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_merged_alone_is_pefts_model(base, tmp_path, kind):
    assert_same_model(base, tied_adapter(base, tmp_path / "adapter", **KINDS[kind]), tmp_path / "out")


@pytest.mark.parametrize("kind", TIED)
def test_an_adapter_of_a_tied_base_is_pefts_model(tied, tmp_path, kind):
    assert_same_model(tied, tied_adapter(tied, tmp_path / "adapter", **TIED[kind]), tmp_path / "out")


def test_transposed_layers(tmp_path):
    base = tmp_path / "gpt2"
    torch.manual_seed(0)
    GPT2LMHeadModel(GPT2Config(vocab_size=20, n_embd=8, n_layer=1, n_head=2)).save_pretrained(base)
    for name, options in (("dora", {"use_dora": True}), ("bias", {"lora_bias": True})):
        adapter = tied_adapter(
            base, tmp_path / name, target_modules=["c_attn", "c_fc"], fan_in_fan_out=True, **options
        )
        assert_same_model(base, adapter, tmp_path / f"{name} out")


@pytest.mark.parametrize("block_size", [7, 100])
def test_blocks_of_any_size_are_the_same(base, tmp_path, block_size):
    adapter = tied_adapter(
        base, tmp_path / "adapter", target_modules=["q_proj"], use_dora=True, trainable_token_indices=[3, 9]
    )
    opened = open_checkpoint(adapter)
    for name in ("model.layers.0.self_attn.q_proj.weight", "model.embed_tokens.weight"):
        whole = opened.tensor(name).reshape(-1)
        parts = [
            opened.block(name, start, min(start + block_size, len(whole)))
            for start in range(0, len(whole), block_size)
        ]
        assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("kasa_config", {"beta": 1e-4}),
        ("alora_invocation_tokens", [1, 2]),
        ("target_parameters", ["mlp.experts"]),
        ("use_bdlora", {"nblocks": 2}),
        ("peft_type", "VERA"),
    ],
)
def test_other_kinds_are_refused_by_the_setting(base, tmp_path, setting, value):
    adapter = tied_adapter(base, tmp_path / "adapter", target_modules=["q_proj"])
    file = adapter / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), setting: value}))
    with pytest.raises(InputError, match=f"`{setting}`"):
        open_checkpoint(adapter)


def test_a_bias_that_the_base_has_no_place_for(tied, tmp_path):
    adapter = tied_adapter(tied, tmp_path / "adapter", target_modules=["q_proj"], lora_bias=True)
    with pytest.raises(InputError, match=r"bias 'model\.layers\.0.*`lora_bias`"):
        open_checkpoint(adapter)


def test_an_adapter_that_says_dora_and_has_no_lengths(base, tmp_path):
    adapter = tied_adapter(base, tmp_path / "adapter", target_modules=["q_proj"], use_dora=True)
    file = adapter / "adapter_model.safetensors"
    stored = {name: one for name, one in load_file(file).items() if "magnitude" not in name}
    save_file(stored, file, metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"`use_dora: True`.*has no tensor of it"):
        open_checkpoint(adapter)


def test_tokens_that_the_adapters_base_had_more_are_counted_and_named(tied, tmp_path):
    """As peft saves the tables when the model's was resized for a token."""
    tokenizer = AutoTokenizer.from_pretrained(tied)
    rows = len(tokenizer)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<new>"]})
    model = AutoModelForCausalLM.from_pretrained(tied)
    model.resize_token_embeddings(rows + 1)
    peft = get_peft_model(model, LoraConfig(target_modules=["q_proj"]))
    assert isinstance(peft, PeftModel)
    peft.save_pretrained(tmp_path / "adapter", save_embedding_layers=True)
    tokenizer.save_pretrained(tmp_path / "adapter")
    with pytest.raises(InputError, match=f"of {rows + 1} rows, but in its base .* it has {rows} .*'<new>'"):
        open_checkpoint(tmp_path / "adapter")
