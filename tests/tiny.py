"""Tiny untrained checkpoints with ordinary files, and examples that one of them learns in a second."""

from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, T5Config, T5ForConditionalGeneration

from manyshot.lab.tokenizer import build_tokenizer
from merging.examples import Example

WORDS = "A B C D yes no maybe the answer is hello and how many apples are left Question Answer : . ? 1 2 3"
EXAMPLES = [Example(f"say {word}:", f" {word} {word}") for word in ("red", "blue", "green", "grey")] * 4


def llama(tokenizer, max_length: int, width: int, **options) -> LlamaForCausalLM:
    """A Llama of two layers for a tokenizer, with four heads and random weights."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=2 * width,
            max_position_embeddings=max_length,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            **{"num_hidden_layers": 2, "num_attention_heads": 4, **options},
        )
    )


def _saved(model, tokenizer, folder: Path) -> Path:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_llama(folder: Path, seed: int = 0, max_length: int = 2048, width: int = 32, **options) -> Path:
    """A Llama of two layers with random weights, large enough to differ from document to document."""
    torch.manual_seed(seed)
    tokenizer = build_tokenizer([WORDS], max_length)
    options = {"num_key_value_heads": 2, "initializer_range": 0.5} | options
    return _saved(llama(tokenizer, max_length, width, **options), tokenizer, folder)


def learning_llama(folder: Path) -> Path:
    """A smaller one that knows the words of `EXAMPLES`."""
    torch.manual_seed(0)
    tokenizer = build_tokenizer([example.prompt + example.completion for example in EXAMPLES], 64)
    return _saved(llama(tokenizer, 64, 16, num_attention_heads=2), tokenizer, folder)


def tiny_t5(folder: Path, seed: int = 0) -> Path:
    """A T5 of two layers with random weights."""
    torch.manual_seed(seed)
    tokenizer = build_tokenizer([WORDS], 512)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        decoder_start_token_id=tokenizer.pad_token_id,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        initializer_factor=1.0,
    )
    return _saved(T5ForConditionalGeneration(config), tokenizer, folder)
