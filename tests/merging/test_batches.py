"""Logits only where something is learned: the same loss and gradients, and models that cannot are found."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny import tiny_t5
from transformers import AutoModelForSeq2SeqLM, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from merging import batches
from merging.batches import collate, needs_only_learned
from merging.examples import IGNORED

ROWS = [
    {"input_ids": [5, 6, 7, 8, 9], "labels": [IGNORED, IGNORED, IGNORED, 8, 9]},
    {"input_ids": [9, 8, 7], "labels": [IGNORED, IGNORED, 7]},
]


@pytest.fixture(autouse=True)
def _any_vocabulary(monkeypatch):
    monkeypatch.setattr(batches, "MANY_TOKENS", 1)


def llama(kind=LlamaForCausalLM):
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    return kind(LlamaConfig(vocab_size=20, initializer_range=0.5, **sizes))


def gpt2():
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(vocab_size=20, n_positions=16, n_embd=16, n_layer=2, n_head=2))


def adapted():
    return get_peft_model(llama(), LoraConfig(target_modules=["q_proj"], init_lora_weights=False))


@pytest.mark.parametrize("make", [llama, gpt2, adapted])
def test_the_loss_and_its_gradients_are_those_of_all_logits(make):
    model = make().eval()
    assert needs_only_learned(model, ROWS[0])
    assert not model.training
    outcomes = []
    for learned_only in (False, True):
        model.zero_grad()
        outcome = model(**collate(ROWS, 0, learned_only=learned_only))
        outcome.loss.backward()
        gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        outcomes.append((outcome.logits.shape[1], outcome.loss.detach(), gradients))
    (all_positions, loss, gradients), (few, same_loss, same_gradients) = outcomes
    # Before the 8 and the 9 of one row, and the 7 of the other.
    assert (all_positions, few) == (5, 3)
    torch.testing.assert_close(same_loss, loss, rtol=1e-6, atol=0)
    assert gradients and same_gradients.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(same_gradients[name], gradient, rtol=1e-4, atol=1e-6)


class OwnLoss(LlamaForCausalLM):
    """Takes `logits_to_keep`, and shifts its labels by itself."""

    def forward(self, *, labels=None, logits_to_keep=0, shift_labels=None, **inputs):
        outcome = super().forward(logits_to_keep=logits_to_keep, **inputs)
        logits = outcome.logits[:, :-1].flatten(0, 1)
        outcome.loss = torch.nn.functional.cross_entropy(logits, labels[:, 1:].flatten())
        return outcome


def test_a_model_that_shifts_its_labels_by_itself_gives_all_logits():
    model = llama(OwnLoss).train()
    assert not needs_only_learned(model, ROWS[0])
    assert model.training


def test_an_encoder_decoder_gives_all_logits(tmp_path):
    assert not needs_only_learned(AutoModelForSeq2SeqLM.from_pretrained(tiny_t5(tmp_path)), ROWS[0])


def test_a_small_vocabulary_gives_all_logits(monkeypatch):
    monkeypatch.setattr(batches, "MANY_TOKENS", 21)
    assert not needs_only_learned(llama(), ROWS[0])
