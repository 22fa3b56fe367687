"""GGUF files as checkpoints: written by llama.cpp's own writer, and read back to the bit."""

import json
import shlex
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
import transformers
from command_line import manyshot
from tokenizers import pre_tokenizers

from merging.gguf import convert_gguf
from results.errors import InputError

WIDTH, HEADS, LAYERS = 64, 4, 2
TEMPLATE = "{% for message in messages %}<|start|>{{ message['content'] }}<|end|>{% endfor %}"
BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())
MERGES = ["1 2", "12 3", "Ġ Ġ", "h e", "he l", "l o"]
TOKENS = ["<|start|>", "<|end|>", *BYTES, *(merge.replace(" ", "") for merge in MERGES)]


FAMILIES = {
    "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
    "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
    "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM),
}


def model(architecture: str = "llama", *, tied: bool = True):
    """A tiny model with grouped heads, whose biases and norms are not as they begin."""
    torch.manual_seed(0)
    config, family = FAMILIES[architecture]
    made = family(
        config(
            vocab_size=len(TOKENS),
            hidden_size=WIDTH,
            intermediate_size=2 * WIDTH,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            num_key_value_heads=2,
            head_dim=WIDTH // HEADS,
            max_position_embeddings=256,
            rms_norm_eps=1e-5,
            rope_parameters={"rope_type": "default", "rope_theta": 50_000.0},
            tie_word_embeddings=tied,
            initializer_range=0.3,
        )
    )
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.2 * torch.randn_like(parameter))
    return made


def interleaved(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of a projection in llama.cpp's order: each head's two halves interleaved."""
    return weight.reshape(heads, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


def write(
    path,
    weights,
    *,
    architecture="llama",
    pre="smollm",
    adds_bos=False,
    tied=True,
    end="<|end|>",
    quantise=None,
    more=lambda writer: None,
):
    """A GGUF file of a tiny Llama."""
    tokens = [end if token == "<|end|>" else token for token in TOKENS]
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(LAYERS)
    writer.add_context_length(256)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(2 * WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(2)
    writer.add_rope_freq_base(50_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(TOKENS))
    if architecture == "qwen3":
        writer.add_key_length(WIDTH // HEADS)
        writer.add_value_length(WIDTH // HEADS)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3] + [1] * (len(TOKENS) - 2))
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_pad_token_id(1)
    if adds_bos is not None:
        writer.add_add_bos_token(adds_bos)
    writer.add_chat_template(TEMPLATE)
    more(writer)
    names = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    names["lm_head.weight"] = "output.weight"
    parts = {
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
        "self_attn.q_norm": "attn_q_norm",
        "self_attn.k_norm": "attn_k_norm",
    }
    for layer in range(LAYERS):
        for ours, theirs in parts.items():
            for kind in ("weight", "bias"):
                names[f"model.layers.{layer}.{ours}.{kind}"] = f"blk.{layer}.{theirs}.{kind}"
    for ours, theirs in names.items():
        if ours not in weights or (ours == "lm_head.weight" and tied):
            continue
        weight = weights[ours].float().numpy()
        if architecture == "llama" and ("q_proj" in ours or "k_proj" in ours):
            weight = interleaved(weight, HEADS if "q_proj" in ours else 2)
        if quantise is not None and weight.ndim == 2:
            stored = gguf.quants.quantize(weight, quantise)
            writer.add_tensor(theirs, stored, raw_dtype=quantise)
        else:
            writer.add_tensor(theirs, weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_weights_configuration_tokenizer_and_template_come_back(tmp_path):
    made = model()
    file = write(tmp_path / "tiny.gguf", made.state_dict())
    done = manyshot("convert", file, "out", "--dtype", "float32", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "out"
    read = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    expected = made.state_dict()
    assert read.state_dict().keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in read.state_dict().items())
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert config["rms_norm_eps"] == 1e-5 and config["rope_parameters"]["rope_theta"] == 50_000.0
    assert config["tie_word_embeddings"] is True and "quantization_config" not in config
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer.chat_template == TEMPLATE and tokenizer.model_max_length == 256
    generation = transformers.GenerationConfig.from_pretrained(tmp_path / "out")
    assert (generation.bos_token_id, generation.eos_token_id, generation.pad_token_id) == (0, 1, 1)


@pytest.mark.parametrize(("architecture", "tied"), [("llama", False), ("qwen2", True), ("qwen3", False)])
def test_every_architecture_computes_the_same(tmp_path, architecture, tied):
    made = model(architecture, tied=tied)
    file = write(tmp_path / "tiny.gguf", made.state_dict(), architecture=architecture, tied=tied)
    read = transformers.AutoModelForCausalLM.from_pretrained(
        convert_gguf(file, tmp_path / "out", dtype="float32"), dtype=torch.float32
    )
    ids = torch.arange(40)[None]
    with torch.inference_mode():
        assert torch.equal(read(ids).logits, made(ids).logits)


@pytest.mark.parametrize(("dtype", "kept"), [("bfloat16", 2**-8), ("float16", 2**-11)])
def test_dtypes(tmp_path, dtype, kept):
    made = model()
    convert_gguf(write(tmp_path / "tiny.gguf", made.state_dict()), tmp_path / "out", dtype=dtype)
    read = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype="auto")
    assert read.dtype == getattr(torch, dtype)
    for name, tensor in read.state_dict().items():
        exact = made.state_dict()[name]
        assert ((tensor.float() - exact).abs() <= kept * exact.abs() + 1e-7).all()


def test_quantised_weights_are_what_the_file_says(tmp_path):
    made, kind = model(), gguf.GGMLQuantizationType.Q8_0
    convert_gguf(
        write(tmp_path / "tiny.gguf", made.state_dict(), quantise=kind), tmp_path / "out", dtype="float32"
    )
    read = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    exact = made.state_dict()["model.embed_tokens.weight"].numpy()
    stored = gguf.quants.dequantize(gguf.quants.quantize(exact, kind), kind)
    assert np.array_equal(read.get_input_embeddings().weight.detach().numpy(), stored)
    assert not np.array_equal(exact, stored)


@pytest.mark.parametrize(
    ("pre", "tokens"),
    [
        ("gpt-2", ["123", "Ġ", "Ġ", "1"]),
        ("smollm", ["1", "2", "3", "ĠĠ", "1"]),
        ("llama-bpe", ["123", "Ġ", "Ġ", "1"]),
        ("qwen2", ["1", "2", "3", "Ġ", "Ġ", "1"]),
        ("dbrx", ["123", "Ġ", "Ġ", "1"]),
    ],
)
def test_texts_are_split_as_the_file_says(tmp_path, pre, tokens):
    convert_gguf(write(tmp_path / "tiny.gguf", model().state_dict(), pre=pre), tmp_path / "out")
    assert transformers.AutoTokenizer.from_pretrained(tmp_path / "out").tokenize("123  1") == tokens


@pytest.mark.parametrize(
    ("pre", "said", "begins"),
    [("smollm", None, False), ("smollm", True, True), ("llama-bpe", None, True), ("llama-bpe", False, False)],
)
def test_bos_is_added_as_the_file_says_or_llama_cpp_does(tmp_path, pre, said, begins):
    file = write(tmp_path / "tiny.gguf", model().state_dict(), pre=pre, adds_bos=said)
    tokenizer = transformers.AutoTokenizer.from_pretrained(convert_gguf(file, tmp_path / "out"))
    assert tokenizer("hello")["input_ids"][0] == (0 if begins else TOKENS.index("hel"))
    assert tokenizer.encode("<|start|>", add_special_tokens=False) == [0]


def test_a_special_token_that_bytes_cannot_spell_keeps_its_id(tmp_path):
    end = "<｜end▁of▁sentence｜>"
    file = write(tmp_path / "tiny.gguf", model().state_dict(), end=end)
    tokenizer = transformers.AutoTokenizer.from_pretrained(convert_gguf(file, tmp_path / "out"))
    assert len(tokenizer) == len(TOKENS)
    assert tokenizer.encode(f"hello{end}", add_special_tokens=False)[-1] == tokenizer.eos_token_id == 1


def test_another_tokenizer_is_taken_where_the_files_own_is_not_known(tmp_path):
    weights = model().state_dict()
    convert_gguf(write(tmp_path / "known.gguf", weights), tmp_path / "known")
    unknown = write(tmp_path / "unknown.gguf", weights, pre="of-tomorrow")
    with pytest.raises(InputError, match=r"splits texts as 'of-tomorrow'.*--tokenizer"):
        convert_gguf(unknown, tmp_path / "out")
    convert_gguf(unknown, tmp_path / "out", tokenizer=tmp_path / "known")
    assert (tmp_path / "out/tokenizer.json").read_bytes() == (tmp_path / "known/tokenizer.json").read_bytes()
    assert (tmp_path / "out/chat_template.jinja").is_file()
    (tmp_path / "empty").mkdir()
    for folder, said in {
        "empty": "has no tokenizer",
        "not": "no such folder",
        "known.gguf": "a file",
    }.items():
        with pytest.raises(InputError, match=f"{folder}.*{said}"):
            convert_gguf(unknown, tmp_path / "other", tokenizer=tmp_path / folder)
    assert not (tmp_path / "other").exists()


def test_a_sentencepiece_tokenizer_is_read(tmp_path):
    pieces = ["▁", "h", "e", "▁h", "▁he"]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *pieces]

    def change(writer):
        said = writer.kv_data[0]
        for key in ("merges", "pre", "add_bos_token"):
            del said[f"tokenizer.ggml.{key}"]
        said["tokenizer.ggml.model"].value = "llama"
        said["tokenizer.ggml.tokens"].value = tokens
        said["tokenizer.ggml.token_type"].value = [2, 3, 3] + [6] * 256 + [1] * len(pieces)
        said["tokenizer.ggml.bos_token_id"].value, said["tokenizer.ggml.eos_token_id"].value = 1, 2
        writer.add_token_scores([0.0] * 259 + [-5.0, -4.0, -3.0, -1.0, -2.0])

    file = write(tmp_path / "tiny.gguf", model().state_dict(), more=change)
    tokenizer = transformers.AutoTokenizer.from_pretrained(convert_gguf(file, tmp_path / "out"))
    assert tokenizer.convert_ids_to_tokens(tokenizer("he?")["input_ids"]) == ["<s>", "▁he", "<0x3F>"]


def _frequencies(writer):
    writer.add_tensor("rope_freqs.weight", np.ones(8, np.float32))


def _yarn(writer):
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(4.0)


def _factor(writer):
    writer.add_rope_scaling_factor(4.0)


def _logit_scale(writer):
    writer.add_logit_scale(8.0)


def _narrow_rotation(writer):
    writer.add_rope_dimension_count(8)


def _part(writer):
    writer.add_uint16("split.count", 2)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (_part, "one of 2 parts of a model: join them first"),
        (_frequencies, "would be lost"),
        (_yarn, "llama.rope.scaling.type: yarn"),
        (_factor, "llama.rope.scaling.factor: 4"),
        (_logit_scale, "llama.logit_scale: 8"),
        (_narrow_rotation, "rope.dimension_count: 8, not 16"),
    ],
)
def test_what_would_be_lost_is_refused(tmp_path, more, said):
    file = write(tmp_path / "tiny.gguf", model().state_dict(), more=more)
    with pytest.raises(InputError, match=said):
        convert_gguf(file, tmp_path / "out")


def test_broken_and_foreign_files_get_a_sentence(tmp_path):
    file = write(tmp_path / "tiny.gguf", model().state_dict())
    whole = file.read_bytes()
    for length in (3, 100, 5000, len(whole) - 1000):
        file.write_bytes(whole[:length])
        done = manyshot("convert", file, "out", cwd=tmp_path)
        assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
        assert ("no GGUF file" if length < 4 else "is cut short") in done.stderr
    file.write_bytes(whole[:4] + b"\x63\0\0\0" + whole[8:])
    done = manyshot("convert", file, "out", cwd=tmp_path)
    assert done.returncode == 2 and "version 99" in done.stderr and "upgrade gguf" in done.stderr
    write(file, model().state_dict(), architecture="mamba9", pre="of-tomorrow")
    done = manyshot("convert", file, "out", cwd=tmp_path)
    assert done.returncode == 2 and "mamba9" in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert "is a folder; a GGUF file" in manyshot("convert", tmp_path, "out", cwd=tmp_path).stderr
    assert not (tmp_path / "out").exists()


LACKED = [
    *("general.architecture", "llama.block_count", "llama.context_length", "llama.embedding_length"),
    *("llama.feed_forward_length", "llama.attention.head_count", "llama.attention.layer_norm_rms_epsilon"),
    *("tokenizer.ggml.model", "tokenizer.ggml.tokens", "tokenizer.ggml.merges"),
]


@pytest.mark.parametrize("key", LACKED)
def test_a_key_that_is_needed_is_named(tmp_path, key):
    file = write(tmp_path / "tiny.gguf", {}, more=lambda writer: writer.kv_data[0].pop(key))
    done = manyshot("convert", file, "out", cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert f"lacks the key {key}, so that it " in done.stderr
    assert ("--tokenizer" in done.stderr) == key.startswith("tokenizer.")


def test_without_tokens_the_vocabulary_has_a_size(tmp_path):
    def neither(writer):
        del writer.kv_data[0]["tokenizer.ggml.tokens"], writer.kv_data[0]["llama.vocab_size"]

    known = convert_gguf(write(tmp_path / "known.gguf", model().state_dict()), tmp_path / "known")
    with pytest.raises(InputError, match=r"lacks the key tokenizer\.ggml\.tokens"):
        convert_gguf(write(tmp_path / "neither.gguf", {}, more=neither), tmp_path / "out", tokenizer=known)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("llama.attention.head_count", 0, "a whole number from 1"),
        ("llama.attention.head_count_kv", 0, "a whole number from 1"),
        ("llama.embedding_length", 0, "a whole number from 1"),
        ("tokenizer.ggml.bos_token_id", 999, "has 264 tokens, numbered from 0"),
        ("tokenizer.ggml.eos_token_id", 264, "has 264 tokens, numbered from 0"),
        ("tokenizer.ggml.model", "bert", "of the kind 'bert'; those of gpt2 and llama are read"),
        ("tokenizer.ggml.model", "llama", "lacks the key tokenizer.ggml.scores"),
        ("tokenizer.ggml.merges", ["1 of-tomorrow"], "merges do not fit its tokens"),
    ],
)
def test_a_value_without_sense_gets_a_sentence(tmp_path, key, value, said):
    def change(writer):
        writer.kv_data[0][key].value = value
        if value == "llama":
            del writer.kv_data[0]["tokenizer.ggml.merges"]

    done = manyshot("convert", write(tmp_path / "tiny.gguf", {}, more=change), "out", cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert said in done.stderr and str(key if key.endswith(("_id", "length")) else "") in done.stderr


def test_a_folder_that_cannot_be_made_is_met_before_the_weights_are_read(tmp_path):
    file = write(tmp_path / "tiny.gguf", {})  # whose lack of weights would be met as they are read
    with pytest.raises(InputError, match="/proc/nope/out cannot be made"):
        convert_gguf(file, Path("/proc/nope/out"))


def test_no_bar_is_drawn_where_there_is_no_terminal(tmp_path, capfd):
    convert_gguf(write(tmp_path / "tiny.gguf", model().state_dict()), tmp_path / "out")
    assert "%|" not in capfd.readouterr().err


def test_elsewhere_a_gguf_file_is_refused_with_the_command(tmp_path):
    file = write(tmp_path / "a tiny one.gguf", model().state_dict())
    for given in (file, tmp_path):
        done = manyshot("score", "--benchmark", "lab_math", given, cwd=tmp_path)
        assert done.returncode == 2 and f"manyshot convert {shlex.quote(str(file))} OUT" in done.stderr
    (tmp_path / "there").mkdir()
    done = manyshot("convert", file, "there", cwd=tmp_path)
    assert done.returncode == 2 and "exists already" in done.stderr


def test_weights_are_read_by_whom_other_files_are(tmp_path):
    out = convert_gguf(write(tmp_path / "tiny.gguf", model().state_dict()), tmp_path / "out")
    modes = {(out / name).stat().st_mode for name in ("model.safetensors", "config.json")}
    assert len(modes) == 1
