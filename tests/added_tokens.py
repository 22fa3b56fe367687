"""Models of one kind whose tokenizers have tokens that the others lack, and merges of them."""

import json

import torch
from safetensors.torch import load_file
from tiny import tiny_llama
from transformers import AddedToken, AutoModelForCausalLM, AutoTokenizer

from merging.merge import merge
from merging.recipe import Recipe

TABLE, HEAD = "model.embed_tokens.weight", "lm_head.weight"
TEXT = "how many apples are left ? the answer is"


def expert(folder, seed, tokens=(), multiple=None, **options):
    """Another model of the base's kind, with added special tokens and rows for them."""
    tiny_llama(folder, seed, **options)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in tokens])
    torch.manual_seed(seed + 100)
    model.resize_token_embeddings(len(tokenizer), pad_to_multiple_of=multiple, mean_resizing=False)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def merged(base, experts, out, method="task_arithmetic", block_size=None, **settings):
    scaling = {"scaling": 1.0} if method == "task_arithmetic" else {}
    recipe = Recipe(base=base, experts=experts, method={"name": method, **scaling}, **settings)
    return merge(recipe, out, progress=False, block_size=block_size)


def weights(folder):
    return load_file(folder / "model.safetensors")


def notices(folder):
    return " | ".join(json.loads((folder / "merge.json").read_text())["notices"])


@torch.inference_mode()
def logits(folder, ids):
    return AutoModelForCausalLM.from_pretrained(folder).eval()(torch.tensor([ids])).logits[0]


def config(folder):
    return json.loads((folder / "config.json").read_text())
