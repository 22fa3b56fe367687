"""A checkpoint and examples so small that a training takes a second."""

from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from manyshot.lab.tokenizer import build_tokenizer
from merging.examples import Example

EXAMPLES = [Example(f"say {word}:", f" {word} {word}") for word in ("red", "blue", "green", "grey")] * 4


def little_base(folder: Path) -> Path:
    """A Llama of random weights that knows the examples' words."""
    tokenizer = build_tokenizer([e.prompt + e.completion for e in EXAMPLES], max_length=64)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
