"""A union of two experts keeps what each says by tokens of its own, and what all say by those of all."""

import pytest
import torch
from added_tokens import TEXT, expert, logits, merged, weights
from safetensors.torch import save_file
from tiny import tiny_llama
from transformers import AutoModelForCausalLM, AutoTokenizer

TOKENS = {"a": ["<a>", "<end of a>"], "b": ["<b>", "<end of b>"]}
SHARE = 0.5
STEPS = 4


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_llama(tmp_path_factory.mktemp("added tokens") / "base")


def question(name):
    return f"{TOKENS[name][0]} {TEXT}"


def answer(folder, text, steps=STEPS + 2):
    """Tokens of a greedy answer, and the states that they were chosen by, (steps, width)."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    asked = tokenizer(text, return_tensors="pt")
    made = model.generate(
        **asked, max_new_tokens=steps, min_new_tokens=steps, do_sample=False, output_hidden_states=True,
        return_dict_in_generate=True,
    )  # fmt: skip
    ids = made.sequences[0, asked.input_ids.shape[1] :].tolist()
    return tokenizer.convert_ids_to_tokens(ids), torch.stack([one[-1][0, -1] for one in made.hidden_states])


@pytest.fixture(scope="module")
def experts(base):
    """Two models with a small step of their own, whose answers end with a token of their own.

    Their tokens have the same ids. The head's row of an end is along the state of the answer's last step, so
    that it wins there and, with the other's row or the mean of all, would not.
    """
    folders = {}
    for seed, name in enumerate(TOKENS, start=1):
        folders[name] = folder = expert(base.parent / name, 0, TOKENS[name])
        content, start = weights(folder), weights(base)
        draw = torch.Generator().manual_seed(seed)
        for tensor, values in content.items():
            step = 0.003 * torch.randn(start.get(tensor, values).shape, generator=draw)
            content[tensor] = torch.cat([start[tensor] + step, values[len(step) :]])
        table, head = content["model.embed_tokens.weight"], content["lm_head.weight"]
        table[-2:] = torch.randn(2, table.shape[1], generator=draw)
        head[-2:] = 0
        save_file(content, folder / "model.safetensors", metadata={"format": "pt"})
        _, states = answer(folder, question(name))
        state = states[STEPS - 1]
        head[-1] = 2 * (head @ state).max() * state / state.square().sum()
        save_file(content, folder / "model.safetensors", metadata={"format": "pt"})
    return folders


@pytest.fixture(scope="module")
def union(base, experts, tmp_path_factory):
    paths = {name: {"path": str(folder), "weight": SHARE} for name, folder in experts.items()}
    return merged(base, paths, tmp_path_factory.mktemp("union") / "out", tokenizer="union")


@pytest.mark.parametrize("name", TOKENS)
def test_each_experts_tokens_generate_as_before(experts, union, name):
    expected, _ = answer(experts[name], question(name))
    assert expected.index(TOKENS[name][1]) == STEPS - 1
    assert answer(union, question(name))[0][:STEPS] == expected[:STEPS]
    assert AutoTokenizer.from_pretrained(union).tokenize(question(name))[0] == TOKENS[name][0]


def test_the_answers_are_by_these_tokens(experts, union):
    """Without its first token, or with the other's, an expert's answer is another."""
    for name, other in (("a", "b"), ("b", "a")):
        ours, _ = answer(union, question(name))
        assert ours[:STEPS] != answer(union, TEXT)[0][:STEPS]
        assert ours[:STEPS] != answer(union, question(other))[0][:STEPS]


def test_logits_of_the_tokens_of_all_are_as_without_the_added_ones(base, experts, union, tmp_path):
    plain = {}
    rows = len(AutoTokenizer.from_pretrained(base))
    for name, folder in experts.items():
        tiny_llama(tmp_path / name)
        content = {
            tensor: values[:rows].clone() if len(values) > rows else values
            for tensor, values in weights(folder).items()
        }
        save_file(content, tmp_path / name / "model.safetensors", metadata={"format": "pt"})
        plain[name] = {"path": str(tmp_path / name), "weight": SHARE}
    expected = merged(base, plain, tmp_path / "out")
    ids = AutoTokenizer.from_pretrained(base)(TEXT).input_ids
    assert AutoTokenizer.from_pretrained(union)(TEXT).input_ids == ids
    found = logits(union, ids)
    assert found.shape[1] == rows + 4
    torch.testing.assert_close(found[:, :rows], logits(expected, ids), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(found[:, :rows], logits(base, ids), rtol=1e-3)
