"""One tokenizer in two forms is no difference, and two tokenizers in one form are."""

import json
import shutil

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer

from merging.checkpoints.checkpoint import Checkpoint
from merging.differences import compare_settings
from results.errors import InputError

TEXT = ["the quick brown fox jumps over the lazy dog the the fox"] * 5
SPECIAL = ["<s>", "</s>", "<pad>", "<unk>"]


def folder_of(kind, folder, old=True, **config):
    """A trained tokenizer, as versions before wrote it or as now."""
    bpe = kind != "Unigram"
    tokenizer = Tokenizer(models.BPE() if bpe else models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer if bpe else trainers.UnigramTrainer
    unknown = {} if bpe else {"unk_token": "<unk>"}
    tokenizer.train_from_iterator(TEXT, trainer(vocab_size=90, special_tokens=SPECIAL, **unknown))
    content = json.loads(tokenizer.to_str())
    if old:
        model = content["model"]
        model.update({"merges": [" ".join(pair) for pair in model["merges"]]} if bpe else {})
        for key in ("ignore_merges", "byte_fallback", "fuse_unk"):
            model.pop(key, None)
    folder.mkdir()
    (folder / "tokenizer.json").write_text(json.dumps(content))
    written = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(written | config))
    return folder


def found(ours, theirs):
    pair = [Checkpoint(folder, {}, [], {}) for folder in (ours, theirs)]
    return {one.key: one.verdict for one in compare_settings(pair[0], {"a": pair[1]})}


@pytest.mark.parametrize("kind", ["BPE", "Unigram"])
def test_merges_and_defaults_as_they_were_written_before_are_no_difference(tmp_path, kind):
    base = folder_of(kind, tmp_path / "base")
    now = tmp_path / "now"
    shutil.copytree(base, now)
    Tokenizer.from_file(str(base / "tokenizer.json")).save(str(now / "tokenizer.json"))
    assert (now / "tokenizer.json").read_bytes() != (base / "tokenizer.json").read_bytes()
    assert found(base, now) == {}


@pytest.mark.parametrize("name", ["PreTrainedTokenizerFast", "GPT2Tokenizer", "Qwen2Tokenizer"])
def test_a_tokenizer_that_was_loaded_and_saved_again_is_no_difference(tmp_path, name):
    base = folder_of(
        "BPE", tmp_path / "base", tokenizer_class=name, unk_token="<unk>", pad_token="<pad>", use_fast=True
    )
    saved = tmp_path / "saved"
    AutoTokenizer.from_pretrained(base).save_pretrained(saved)
    assert {key: verdict for key, verdict in found(base, saved).items() if verdict != "allowed"} == {}


def test_files_from_before_tokenizer_json_are_loaded_and_compared(tmp_path):
    base = folder_of(
        "BPE", tmp_path / "base", tokenizer_class="GPT2Tokenizer", unk_token="<unk>", pad_token="<pad>"
    )
    files = tmp_path / "files"
    shutil.copytree(base, files)
    model = json.loads((files / "tokenizer.json").read_text())["model"]
    (files / "tokenizer.json").unlink()
    (files / "vocab.json").write_text(json.dumps(model["vocab"]))
    (files / "merges.txt").write_text("\n".join(["#version: 0.2", *model["merges"]]))
    assert "tokenizer.model.merges" not in found(base, files)
    (files / "merges.txt").write_text("\n".join(["#version: 0.2", *model["merges"][:-2]]))
    with pytest.raises(InputError, match=r"tokenizer\.model\.merges"):
        found(base, files)
    (files / "tokenizer_config.json").write_text('{"tokenizer_class": "NoSuchTokenizer"}')
    (files / "merges.txt").write_bytes(b"\xff")
    with pytest.raises(
        InputError, match="cannot be loaded, and the base's and the expert's are in different"
    ):
        found(base, files)


def test_a_switch_counts_by_the_tokens_that_it_leads_to(tmp_path):
    base = folder_of("BPE", tmp_path / "base", old=False)
    said = folder_of(
        "BPE", tmp_path / "said", old=False, add_eos_token=False, legacy=True, sp_model_kwargs={}
    )
    assert set(found(base, said).values()) <= {"allowed"}
    ends = folder_of("BPE", tmp_path / "ends", old=False, add_eos_token=True)
    tokenizer = Tokenizer.from_file(str(ends / "tokenizer.json"))
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.save(str(ends / "tokenizer.json"))
    with pytest.raises(InputError, match=r"tokenizer\.add_eos_token"):
        found(base, ends)


def test_chat_templates_by_name_are_compared(tmp_path):
    base = folder_of("BPE", tmp_path / "base")
    more = folder_of("BPE", tmp_path / "more")
    (more / "additional_chat_templates").mkdir()
    (more / "additional_chat_templates" / "tools.jinja").write_text("{{ tools }}")
    assert found(base, more) == {"tokenizer.chat_template": "notice"}
