"""A base and experts of random weights in the shapes of Qwen2.5-0.5B, for measuring and not for use."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

HIDDEN, INTERMEDIATE, VOCABULARY, KEY_VALUE = 896, 4864, 151_936, 128
TOKENS = ("<unk>", "a", "b")
BASE_STD, STEP_STD = 0.02, 0.002


def make_family(folder: Path, experts: int = 4, layers: int = 24) -> tuple[Path, dict[str, Path]]:
    """Write a base and experts in bfloat16, 1 GB each at 24 layers; what is there already is kept.

    Args:
        folder: where their folders go.
        experts: how many.
        layers: transformer blocks.
    """
    base = folder / "base"
    paths = {f"expert{i}": folder / f"expert{i}" for i in range(1, experts + 1)}
    for seed, path in enumerate((base, *paths.values())):
        if not (path / "model.safetensors").is_file():
            _write(path, _weights(layers, seed), layers)
    return base, paths


def _weights(layers: int, seed: int) -> dict[str, torch.Tensor]:
    """The base's weights for seed 0; for others, the base and a random step."""
    start, step = torch.Generator().manual_seed(0), torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in _shapes(layers).items():
        weight = torch.empty(shape).normal_(std=BASE_STD, generator=start).to(torch.bfloat16)
        if seed:
            weight = weight.float().add_(torch.empty(shape).normal_(std=STEP_STD, generator=step))
        weights[name] = weight.to(torch.bfloat16)
    return weights


def _shapes(layers: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (VOCABULARY, HIDDEN),
        "model.norm.weight": (HIDDEN,),
    }
    block: dict[str, tuple[int, ...]] = {
        "input_layernorm.weight": (HIDDEN,),
        "post_attention_layernorm.weight": (HIDDEN,),
        "mlp.down_proj.weight": (HIDDEN, INTERMEDIATE),
        "mlp.gate_proj.weight": (INTERMEDIATE, HIDDEN),
        "mlp.up_proj.weight": (INTERMEDIATE, HIDDEN),
        "self_attn.o_proj.weight": (HIDDEN, HIDDEN),
    }
    for name, rows in {"q": HIDDEN, "k": KEY_VALUE, "v": KEY_VALUE}.items():
        block[f"self_attn.{name}_proj.weight"] = (rows, HIDDEN)
        block[f"self_attn.{name}_proj.bias"] = (rows,)
    for layer in range(layers):
        shapes |= {f"model.layers.{layer}.{name}": shape for name, shape in block.items()}
    return shapes


def _write(folder: Path, weights: dict[str, torch.Tensor], layers: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE,
        "num_hidden_layers": layers,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "vocab_size": VOCABULARY,
        "tie_word_embeddings": True,
        "dtype": "bfloat16",
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    tokenizer = {
        "version": "1.0",
        "added_tokens": [],
        "model": {
            "type": "WordLevel",
            "vocab": {token: i for i, token in enumerate(TOKENS)},
            "unk_token": TOKENS[0],
        },
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    # Named last, so that a file that is there is whole.
    save_file(weights, folder / "part", metadata={"format": "pt"})
    (folder / "part").rename(folder / "model.safetensors")
