"""Checkpoints whose files say nonsense are refused in one sentence that names the folder and the part."""

import json
import shutil

import pytest
from tiny import tiny_llama

from merging.checkpoints.pretrained import load_config, load_model, load_tokenizer, refuse_unfit
from results.errors import InputError


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return tiny_llama(tmp_path_factory.mktemp("pretrained") / "llama")


def changed(folder, out, file, content):
    shutil.copytree(folder, out)
    known = json.loads((folder / file).read_text())
    (out / file).write_text(json.dumps({**known, **content} if isinstance(content, dict) else content))
    return out


@pytest.mark.parametrize(
    "content",
    [
        {"hidden_size": -5},
        {"hidden_size": "wide"},
        {"num_attention_heads": 0},
        {"vocab_size": None},
        [1, 2],
        7,
    ],
    ids=str,
)
def test_a_configuration_of_nonsense_is_refused(llama, tmp_path, content):
    bad = changed(llama, tmp_path / "bad", "config.json", content)
    for load in (load_model, lambda folder: refuse_unfit(folder, load_config(folder))):
        with pytest.raises(InputError) as refusal:
            load(bad)
        assert str(bad) in str(refusal.value)
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "content", [[], "text", {"tokenizer_class": 5}, {"added_tokens_decoder": [3]}], ids=str
)
def test_a_tokenizers_settings_of_nonsense_are_refused(llama, tmp_path, content):
    bad = changed(llama, tmp_path / "bad", "tokenizer_config.json", content)
    with pytest.raises(InputError, match="its tokenizer cannot be loaded") as refusal:
        load_tokenizer(bad)
    assert str(bad) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_missing_tokenizer_is_named(llama, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copyfile(llama / name, bare / name)
    with pytest.raises(InputError, match=r"bare has no tokenizer; one of .* is expected in it\.$"):
        load_tokenizer(bare)
