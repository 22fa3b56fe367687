"""Checkpoints of a few odd-sized tensors."""

import torch

VOCAB = {"<unk>": 0, "one": 1, "two": 2, "three": 3, "plus": 4}
CONFIG = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 11,
    "tie_word_embeddings": False,
    "dtype": "float32",
    "transformers_version": "5.0.0",
}
SHAPES = {
    "model.embed_tokens.weight": (11, 7),
    "model.layers.0.mlp.up_proj.weight": (13, 7),
    "model.layers.1.mlp.up_proj.weight": (13, 7),
    "model.norm.weight": (7,),
    "model.scale": (),
    "model.nothing": (0, 3),
}


def tensors(
    seed: int, dtype: torch.dtype = torch.float32, like: dict | None = None
) -> dict[str, torch.Tensor]:
    """Random tensors of SHAPES; with `like`, small steps away from those."""
    random = torch.Generator().manual_seed(seed)
    drawn = {name: torch.randn(shape, generator=random) for name, shape in SHAPES.items()}
    if like is not None:
        drawn = {name: like[name].float() + 0.05 * step for name, step in drawn.items()}
    made = {name: tensor.to(dtype) for name, tensor in drawn.items()}
    made["model.position_ids"] = torch.arange(5)
    return made
