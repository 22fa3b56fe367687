"""Adapters extracted from whole models: peft opens them, and each is as near as its rank allows."""

import json

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from tied_adapters import logits, peft_logits
from tiny import tiny_llama, tiny_t5
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    MixtralConfig,
    MixtralForCausalLM,
)

from manyshot.cli import main
from merging.checkpoints.adapted import open_checkpoint
from merging.extract import extract, low_rank
from results.errors import InputError

UP = "model.layers.0.mlp.up_proj.weight"


def tuned(base, folder, rank=None, **changes):
    """A base whose matrices moved by some rank, with other changes by name."""
    model = AutoModelForCausalLM.from_pretrained(base)
    random = torch.Generator().manual_seed(3)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2:
            rows, columns = parameter.shape
            k = rank or min(rows, columns)
            step = torch.randn(rows, k, generator=random) @ torch.randn(k, columns, generator=random)
            parameter.data += 0.05 * step / k**0.5
        elif "norm" in name:
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=random)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("tied", [False, True])
def test_a_step_of_low_rank_comes_back_whole(tmp_path, tied):
    base = tiny_llama(tmp_path / "base", tie_word_embeddings=tied, initializer_range=0.05)
    expert = tuned(base, tmp_path / "expert", 3)
    out = extract(str(base), str(expert), tmp_path / "out", 3)
    report = json.loads((out / "extract.json").read_text())
    assert max(report["tensors"].values()) < 1e-5
    assert len(report["tensors"]) == (20 if tied else 21)
    torch.testing.assert_close(peft_logits(base, out), logits(expert), rtol=1e-4, atol=1e-4)
    opened, whole = open_checkpoint(out), load_file(expert / "model.safetensors")
    for name in whole:
        torch.testing.assert_close(opened.tensor(name).float(), whole[name], rtol=1e-4, atol=1e-5)


def test_errors_are_those_of_the_adapter_and_the_least_that_its_rank_allows(tmp_path):
    base = tiny_llama(tmp_path / "base")
    expert = tuned(base, tmp_path / "expert")
    out = extract(str(base), str(expert), tmp_path / "out", 4)
    report = json.loads((out / "extract.json").read_text())
    start, end = (load_file(one / "model.safetensors") for one in (base, expert))
    adapted = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), out)
    found = adapted.merge_and_unload().state_dict()
    lost = total = 0.0
    for name, error in report["tensors"].items():
        delta, left = end[name] - start[name], end[name] - found[name]
        assert error == pytest.approx((left.norm() / delta.norm()).item(), abs=1e-5)
        lost, total = lost + left.square().sum().item(), total + delta.square().sum().item()
    assert report["error"] == pytest.approx((lost / total) ** 0.5, rel=1e-4)
    assert 0.1 < report["tensors"][UP] < 1
    values = torch.linalg.svdvals(end[UP] - start[UP])
    assert report["tensors"][UP] == pytest.approx(
        (values[4:].square().sum() / values.square().sum()).sqrt().item(), rel=1e-4
    )


def test_a_rank_beyond_a_matrix(tmp_path):
    b, a, lost = low_rank(torch.tensor([[3.0, 0.0, 0.0], [0.0, 2.0, 0.0]]), 8)
    assert b.shape == (2, 2) and a.shape == (2, 3) and lost == 0
    torch.testing.assert_close(b @ a, torch.tensor([[3.0, 0.0, 0.0], [0.0, 2.0, 0.0]]))
    base = tiny_llama(tmp_path / "base", initializer_range=0.05)
    expert = tuned(base, tmp_path / "expert")
    out = extract(str(base), str(expert), tmp_path / "out", 64)
    torch.testing.assert_close(peft_logits(base, out), logits(expert), rtol=1e-4, atol=1e-4)


def test_the_command_says_the_error_and_refuses_what_does_not_differ(tmp_path, capsys):
    base = tiny_llama(tmp_path / "base")
    expert = tuned(base, tmp_path / "expert")
    main(["extract", str(base), str(expert), str(tmp_path / "out"), "--rank", "2"])
    assert "relative error 0." in capsys.readouterr().out
    with pytest.raises(InputError, match="nothing to extract"):
        extract(str(base), str(base), tmp_path / "none", 2)


def changed(base, folder, change, family=AutoModelForCausalLM):
    """A base after a function of its model, which may return another tokenizer."""
    model, tokenizer = family.from_pretrained(base), AutoTokenizer.from_pretrained(base)
    change(model, tokenizer)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_norms_alone_make_an_adapter_that_peft_opens(tmp_path):
    def move(model, _):
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.data += 0.1 * torch.arange(len(parameter))

    base = tiny_llama(tmp_path / "base")
    expert = changed(base, tmp_path / "expert", move)
    out = extract(str(base), str(expert), tmp_path / "out", 4)
    torch.testing.assert_close(peft_logits(base, out), logits(expert))
    norm = "model.norm.weight"
    assert torch.equal(
        open_checkpoint(out).tensor(norm).float(), load_file(expert / "model.safetensors")[norm]
    )


def test_the_table_of_an_encoder_decoder_is_left_out_with_a_notice(tmp_path, caplog):
    def move(model, _):
        model.shared.weight.data += 0.1
        model.decoder.final_layer_norm.weight.data += 0.1

    base = tiny_t5(tmp_path / "base")
    expert = changed(base, tmp_path / "expert", move, AutoModelForSeq2SeqLM)
    out = extract(str(base), str(expert), tmp_path / "out", 4)
    report = json.loads((out / "extract.json").read_text())
    assert report["tensors"] == {"decoder.final_layer_norm.weight": 0, "shared.weight": 1}
    assert "'shared.weight'" in report["notices"][0] and report["notices"][0] in caplog.text
    opened, ours = open_checkpoint(out), load_file(base / "model.safetensors")["shared.weight"]
    assert torch.equal(opened.tensor("shared.weight"), ours)


def test_a_base_that_no_folder_holds_is_refused(tmp_path):
    base, expert = tiny_llama(tmp_path / "base"), tiny_llama(tmp_path / "expert", 1)
    adapter = extract(str(base), str(expert), tmp_path / "adapter", 2)
    for given, kind in (
        (f"{expert}[0:1] | {base}[1:2]", "a stack"),
        (str(adapter), "an adapter"),
        (f"{base}+{adapter}", "an adapter"),
    ):
        with pytest.raises(InputError, match=rf"is {kind}.*merge it into one first\.$"):
            extract(given, str(expert), tmp_path / "out", 2)
    assert not (tmp_path / "out").exists()


def test_an_expert_with_more_tokens_is_refused_by_what_to_do(tmp_path):
    def grow(model, tokenizer):
        tokenizer.add_tokens(["<new>"])
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)

    base = tiny_llama(tmp_path / "base")
    expert = changed(base, tmp_path / "expert", grow)
    with pytest.raises(InputError, match="resize the base's") as refusal:
        extract(str(base), str(expert), tmp_path / "out", 4)
    assert "recipe" not in str(refusal.value)


def test_another_setting_is_refused_without_the_advice_of_a_recipe(tmp_path):
    base, expert = tiny_llama(tmp_path / "base"), tiny_llama(tmp_path / "expert", rms_norm_eps=0.1)
    with pytest.raises(InputError, match="rms_norm_eps") as refusal:
        extract(str(base), str(expert), tmp_path / "out", 4)
    assert "recipe" not in str(refusal.value)


def test_experts_of_a_mixture_are_refused_by_name(tmp_path):
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama(tmp_path / "tokenizer"))
    config = MixtralConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=1,
        num_attention_heads=4, num_key_value_heads=2, num_local_experts=2,
    )  # fmt: skip
    model = MixtralForCausalLM(config)
    for name in ("base", "expert", "attention"):
        model.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
    file = tmp_path / "expert/model.safetensors"
    moved = load_file(file)
    stored = next(name for name in moved if "experts.0" in name)
    save_file(moved | {stored: moved[stored] + 1}, file, metadata={"format": "pt"})
    with pytest.raises(InputError, match="mixture") as refusal:
        extract(str(tmp_path / "base"), str(tmp_path / "expert"), tmp_path / "out", 4)
    assert repr(stored) in str(refusal.value)
    # What does not differ hinders nothing.
    file = tmp_path / "attention/model.safetensors"
    moved, query = load_file(file), "model.layers.0.self_attn.q_proj.weight"
    save_file(moved | {query: moved[query] + 1}, file, metadata={"format": "pt"})
    extract(str(tmp_path / "base"), str(tmp_path / "attention"), tmp_path / "attention-out", 1)


def test_names_without_the_class_s_prefix_are_refused(tmp_path):
    base = tiny_llama(tmp_path / "base")
    expert = tuned(base, tmp_path / "expert")
    for folder in (base, expert):
        file = folder / "model.safetensors"
        bare = {name.removeprefix("model."): tensor for name, tensor in load_file(file).items()}
        save_file(bare, file, metadata={"format": "pt"})
    with pytest.raises(InputError, match="under another name"):
        extract(str(base), str(expert), tmp_path / "out", 4)
