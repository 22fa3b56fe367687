"""A model of blocks of several, by a file of mergekit with slices, opens elsewhere and generates there."""

import json

import pytest
import torch
import yaml
from need_vllm import need
from tiny import tiny_llama
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from bench.engine import EngineSettings, GenerationRequest
from bench.engine_registry import open_engine
from merging.merge import merge
from merging.recipe_file import load_recipe

BLOCKS, TOKENS = 3, 12
TEXTS = ("hello", "the answer is", "Question : A B", "how many apples are left ?")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two models of three blocks, and one of the first two of the one and the last two of the other."""
    folder = tmp_path_factory.mktemp("frankenmerge")
    for seed, name in enumerate("ab"):
        tiny_llama(folder / name, seed, max_length=256, width=128, num_hidden_layers=BLOCKS)
    slices = [
        {"sources": [{"model": "a", "layer_range": [0, 2]}]},
        {"sources": [{"model": "b", "layer_range": [1, 3]}]},
    ]
    content = {"merge_method": "passthrough", "slices": slices, "dtype": "float32"}
    (folder / "slices.yaml").write_text(yaml.safe_dump(content))
    merge(load_recipe(folder / "slices.yaml"), folder / "out", progress=False)
    return folder


@pytest.fixture(scope="module")
def answers(made):
    """Greedy answers of the merged model by transformers."""
    tokenizer = AutoTokenizer.from_pretrained(made / "out")
    model = AutoModelForCausalLM.from_pretrained(made / "out").eval()
    assert len(model.model.layers) == 4
    return [generated(model, tokenizer(text).input_ids) for text in TEXTS]


@torch.inference_mode()
def generated(model, ids):
    asked = torch.tensor([ids])
    length = {"max_new_tokens": TOKENS, "do_sample": False}
    out = model.generate(asked, attention_mask=torch.ones_like(asked), **length)[0, len(ids) :].tolist()
    end = model.generation_config.eos_token_id
    return out[: out.index(end)] if end in out else out


def test_it_generates_in_transformers_as_its_blocks_put_together_do(made, answers):
    a, b = (AutoModelForCausalLM.from_pretrained(made / name).eval() for name in "ab")
    together = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(made / "a", num_hidden_layers=4))
    # Embeddings are of the first part, final norm and head of the last.
    ends = [
        (a.model.embed_tokens, "model.embed_tokens"),
        (b.model.norm, "model.norm"),
        (b.lm_head, "lm_head"),
    ]
    layers = [*a.model.layers[:2], *b.model.layers[1:]]
    for part, name in [*ends, *((layer, f"model.layers.{i}") for i, layer in enumerate(layers))]:
        together.get_submodule(name).load_state_dict(part.state_dict())
    together.eval()
    tokenizer = AutoTokenizer.from_pretrained(made / "a")
    assert answers == [generated(together, tokenizer(text).input_ids) for text in TEXTS]
    parts = [[generated(one, tokenizer(text).input_ids) for text in TEXTS] for one in (a, b)]
    assert answers not in parts
    assert len({*map(tuple, answers)}) > 1
    assert json.loads((made / "out/config.json").read_text())["num_hidden_layers"] == 4


@pytest.mark.full
def test_it_generates_the_same_in_vllm(made, answers):
    need("vllm")
    engine = open_engine(made / "out", EngineSettings(name="vllm", dtype="float32", device="cpu"))
    try:
        asked = [GenerationRequest(tuple(engine.tokenizer.encode(text)), TOKENS) for text in TEXTS]
        assert [list(answer.ids) for answer in engine.generate(asked)] == answers
    finally:
        engine.close()
