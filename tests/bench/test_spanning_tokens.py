"""Choices whose first characters join the context's last ones in one token."""

import json

import pytest
import torch
from lm_eval.api.instance import Instance
from tokenizers import Tokenizer, models
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from bench.engine import EngineSettings
from bench.engine_registry import open_engine
from bench.lm import EngineLM
from results.errors import InputError


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A model whose tokenizer joins letters over all borders, as byte-level BPE without a regex does."""
    folder = tmp_path_factory.mktemp("spanning")
    vocab = {"</s>": 0, "a": 1, "b": 2, "ab": 3, "c": 4}
    model = Tokenizer(models.BPE(vocab=vocab, merges=[("a", "b")]))
    PreTrainedTokenizerFast(tokenizer_object=model, eos_token="</s>").save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=5, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    assert json.loads((folder / "config.json").read_text())["vocab_size"] == 5
    return folder


def ask(checkpoint, *pairs):
    lm = EngineLM(open_engine(checkpoint, EngineSettings(dtype="float32", device="cpu")))
    return lm.loglikelihood([Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(pairs)])


def test_a_choice_that_a_token_swallows_is_encoded_alone(checkpoint):
    model = LlamaForCausalLM.from_pretrained(checkpoint)
    logprobs = model(torch.tensor([[1]])).logits[0, -1].log_softmax(-1)
    swallowed, other = ask(checkpoint, ("a", "b"), ("a", "c"))
    assert swallowed[0] == pytest.approx(logprobs[2].item(), abs=1e-5)
    assert other[0] == pytest.approx(logprobs[4].item(), abs=1e-5)


def test_a_choice_without_a_token_is_refused_by_name(checkpoint):
    with pytest.raises(InputError, match="The choice 'é' has no token"):
        ask(checkpoint, ("a", "é"))
