"""A checkpoint is scored only where its tensors are weights and fill the model that config.json describes."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tied_adapters import KINDS, TOKENS, logits, peft_logits, tied_adapter
from tiny import tiny_llama, tiny_t5

from bench.engine import EngineSettings
from bench.engine_registry import open_engine
from bench.engines.vllm import VLLMEngine
from merging.checkpoints.checkpoint import Checkpoint
from merging.checkpoints.peft_models import written_out
from merging.checkpoints.pretrained import load_config, refuse_unfit
from results.errors import InputError

PROJECTION = "model.layers.0.self_attn.q_proj.weight"
HEAD, TABLE = "lm_head.weight", "model.embed_tokens.weight"


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return tiny_llama(tmp_path_factory.mktemp("fits") / "llama")


@pytest.fixture(scope="module")
def tied(tmp_path_factory):
    return tiny_llama(tmp_path_factory.mktemp("fits") / "tied", tie_word_embeddings=True)


def changed(folder: Path, out: Path, change, **config) -> Path:
    """A copy of a checkpoint with other tensors and keys of its configuration."""
    out.mkdir()
    for file in folder.iterdir():
        (out / file.name).write_bytes(file.read_bytes())
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    described = json.loads((folder / "config.json").read_text()) | config
    (out / "config.json").write_text(json.dumps(described))
    return out


def int8(weights):
    for name, tensor in weights.items():
        if "proj" in name:
            weights[name] = (10 * tensor).to(torch.int8)


def float8(weights):
    weights[PROJECTION] = weights[PROJECTION].to(torch.float8_e4m3fn)


UNFIT = {
    "int8 projections": (int8, {}, ["down_proj", "I8", "quantization_config"]),
    "8-bit floats alone": (float8, {}, [PROJECTION, "F8_E4M3", "quantization_config"]),
    "8-bit floats without scales": (
        float8,
        {"quantization_config": {"quant_method": "fp8"}},
        [PROJECTION, "F8_E4M3", "scale"],
    ),
    "8-bit floats said to be integers": (
        float8,
        {"quantization_config": {"quant_method": "gptq", "bits": 4}},
        [PROJECTION, "F8_E4M3", "8-bit floats"],
    ),
    "a missing tensor": (lambda weights: weights.pop(PROJECTION), {}, ["lack", PROJECTION]),
    "a tensor too many": (
        lambda weights: weights.update({"model.extra.weight": torch.zeros(3)}),
        {},
        ["reads no tensor", "model.extra.weight"],
    ),
    "layers that the configuration does not have": (
        lambda weights: None,
        {"num_hidden_layers": 1},
        ["reads no tensor", "model.layers.1.", "(and 8 more)"],
    ),
    "another shape": (
        lambda weights: weights.update({PROJECTION: torch.zeros(32, 16)}),
        {},
        [PROJECTION, "(32, 16)", "(32, 32)"],
    ),
}


@pytest.mark.parametrize("kind", UNFIT)
def test_a_checkpoint_that_does_not_fit_is_refused_by_every_engine(llama, tmp_path, monkeypatch, kind):
    change, config, says = UNFIT[kind]
    bad = changed(llama, tmp_path / "bad", change, **config)
    engine = open_engine(llama, EngineSettings())
    monkeypatch.setattr(VLLMEngine, "_check_device", lambda self: None)
    monkeypatch.setattr("bench.engines.vllm.start", lambda *_: pytest.fail("vLLM was started"))
    opened = (
        lambda: open_engine(bad, EngineSettings()),
        lambda: engine.swap(bad),
        lambda: VLLMEngine(bad, EngineSettings(name="vllm")),
    )
    for opening in opened:
        with pytest.raises(InputError) as refusal:
            opening()
        for words in (str(bad), *says):
            assert words in str(refusal.value)
        assert "\n" not in str(refusal.value)


def test_tied_tensors_that_differ_are_refused_and_equal_ones_are_one(tied, tmp_path):
    twice = changed(tied, tmp_path / "twice", lambda weights: weights.update({HEAD: weights[TABLE].clone()}))
    refuse_unfit(twice, load_config(twice))
    differ = changed(tied, tmp_path / "differ", lambda weights: weights.update({HEAD: weights[TABLE] + 1}))
    with pytest.raises(InputError, match=f"{HEAD}' differs from '{TABLE}', though config.json ties"):
        open_engine(differ, EngineSettings())


@pytest.mark.parametrize("equal", [True, False])
def test_tied_tensors_are_compared_without_reading_the_others(tied, tmp_path, monkeypatch, equal):
    difference = 0 if equal else 1
    twice = changed(tied, tmp_path / "twice", lambda w: w.update({HEAD: w[TABLE] + difference}))
    read = []
    for reads in ("block", "raw", "tensor"):
        original = getattr(Checkpoint, reads)
        monkeypatch.setattr(
            Checkpoint,
            reads,
            lambda self, name, *at, original=original: read.append(name) or original(self, name, *at),
        )
    if equal:
        refuse_unfit(twice, load_config(twice))
    else:
        with pytest.raises(InputError, match=f"'{HEAD}' differs from '{TABLE}'"):
            refuse_unfit(twice, load_config(twice))
    assert set(read) == {HEAD, TABLE}


def test_what_a_model_class_leaves_unread_is_no_obstacle(llama, tmp_path):
    buffers = {
        "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4),
    }
    old = changed(llama, tmp_path / "old", lambda weights: weights.update(buffers))
    refuse_unfit(old, load_config(old))
    t5 = tiny_t5(tmp_path / "t5")
    name = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
    old_t5 = changed(t5, tmp_path / "old t5", lambda weights: weights.update({name: torch.zeros(32, 4)}))
    refuse_unfit(old_t5, load_config(old_t5))


def test_quantised_floats_with_their_scales_are_left_to_their_reader(llama, tmp_path):
    def quantise(weights):
        float8(weights)
        weights[f"{PROJECTION}_scale_inv"] = torch.ones(1, 1)

    good = changed(llama, tmp_path / "fp8", quantise, quantization_config={"quant_method": "fp8"})
    refuse_unfit(good, load_config(good))


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_of_a_tied_base_is_scored_as_it_runs(tied, tmp_path, kind):
    adapter = tied_adapter(tied, tmp_path / "adapter", **KINDS[kind])
    expected = peft_logits(tied, adapter)
    with written_out(adapter, tied) as whole:
        torch.testing.assert_close(logits(whole), expected, rtol=1e-4, atol=1e-4)
    tokens = TOKENS[0].tolist()
    logprobs = expected[0].log_softmax(-1)
    asked = [(tokens[:i], [tokens[i]]) for i in range(1, len(tokens))]
    wanted = [float(logprobs[i - 1, tokens[i]]) for i in range(1, len(tokens))]
    engine = open_engine(tied, EngineSettings())
    before = engine.loglikelihood(asked)
    engine.swap(adapter)
    assert [one.logprob for one in engine.loglikelihood(asked)] == pytest.approx(wanted, abs=1e-3)
    engine.swap(tied)
    assert engine.loglikelihood(asked) == before


def test_an_adapter_that_keeps_the_tie_is_refused_by_its_setting(tied, tmp_path):
    adapter = tied_adapter(
        tied, tmp_path / "adapter", **KINDS["embedding's factors"], ensure_weight_tying=True
    )
    with pytest.raises(InputError, match="ensure_weight_tying"):
        open_engine(adapter, EngineSettings())


@pytest.mark.parametrize(
    "change, says",
    [
        (lambda stored, name: stored.update({name: stored[name].to(torch.int8)}), "I8"),
        (lambda stored, name: stored.pop(name), "lacks the tensor"),
        (lambda stored, name: stored.update({f"{name[:-8]}x.weight": torch.zeros(2)}), "does not speak of"),
    ],
)
def test_an_adapter_that_is_not_whole_or_no_weights_is_refused(llama, tmp_path, change, says):
    adapter = tied_adapter(llama, tmp_path / "adapter", **KINDS["neither"])
    file = adapter / "adapter_model.safetensors"
    stored = load_file(file)
    change(stored, min(stored))
    save_file(stored, file, metadata={"format": "pt"})
    with pytest.raises(InputError, match=says):
        open_engine(adapter, EngineSettings())


def test_a_folder_with_a_bin_file_alone_is_scored_as_its_weights(llama, tmp_path):
    old = changed(llama, tmp_path / "old", lambda weights: None)
    torch.save(load_file(llama / "model.safetensors"), old / "pytorch_model.bin")
    (old / "model.safetensors").unlink()
    asked = [([3, 4], [5]), ([6], [7, 8])]
    answers = [open_engine(one, EngineSettings()).loglikelihood(asked) for one in (llama, old)]
    assert answers[0] == answers[1]
    lacking = load_file(llama / "model.safetensors")
    del lacking["model.norm.weight"]
    torch.save(lacking, old / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"lack the tensor 'model\.norm\.weight'"):
        open_engine(old, EngineSettings())
