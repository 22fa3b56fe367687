"""Tokens of experts that the base lacks or has elsewhere: rows of tables are matched by token."""

import json

import pytest
import torch
from added_tokens import HEAD, TABLE, TEXT, config, expert, logits, merged, notices, weights
from tiny import WORDS, tiny_llama
from transformers import AutoModelForCausalLM, AutoTokenizer

from manyshot.lab.tokenizer import build_tokenizer
from merging.checkpoints.checkpoint import Checkpoint
from merging.checkpoints.token_rows import FilledRows, TokenRows, token_tables
from merging.vocabularies import tokens_of
from results.errors import InputError


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_llama(tmp_path_factory.mktemp("vocabularies") / "base")


@pytest.fixture(scope="module")
def size(base):
    return len(AutoTokenizer.from_pretrained(base))


@pytest.mark.parametrize("tokenizer", ["base", "union"])
@pytest.mark.parametrize("tied", [False, True])
def test_one_token_more_and_rows_padded_to_64(tmp_path, tokenizer, tied):
    base = tiny_llama(tmp_path / "base", tie_word_embeddings=tied)
    one = expert(tmp_path / "one", 1, ["<new>"], 64, tie_word_embeddings=tied)
    plain = expert(tmp_path / "plain", 1, tie_word_embeddings=tied)
    size = len(AutoTokenizer.from_pretrained(base))
    assert weights(one)[TABLE].shape[0] % 64 == 0 and weights(base)[TABLE].shape[0] == size
    out = merged(base, {"a": one}, tmp_path / "out", tokenizer=tokenizer)
    rows = size + (tokenizer == "union")
    assert config(out)["vocab_size"] == rows == weights(out)[TABLE].shape[0]
    assert "<new>" in notices(out)
    ids = AutoTokenizer.from_pretrained(base)(TEXT).input_ids
    expected = merged(base, {"a": plain}, tmp_path / "expected")
    torch.testing.assert_close(logits(out, ids)[:, :size], logits(expected, ids), rtol=1e-5, atol=1e-5)
    loaded = AutoTokenizer.from_pretrained(out)
    assert len(loaded) == rows
    if tokenizer == "union":
        assert loaded("<new>").input_ids == [size]
        assert loaded.decode([size]) == "<new>"
        torch.testing.assert_close(weights(out)[TABLE][size], weights(one)[TABLE][size])


def test_special_tokens_generate_as_they_did(base, size, tmp_path):
    one = expert(tmp_path / "one", 1, ["<turn>", "<end>"])
    out = merged(base, {"a": one}, tmp_path / "out", tokenizer="union")
    prompt = f"<turn> {TEXT} <end>"
    answers = []
    for folder in (one, out):
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForCausalLM.from_pretrained(folder).eval()
        asked = tokenizer(prompt, return_tensors="pt")
        answers.append(model.generate(**asked, max_new_tokens=12, do_sample=False)[0].tolist())
        assert answers[-1][0] == size and size + 1 in answers[-1]
    assert answers[0] == answers[1]


def test_one_id_with_two_tokens_is_refused_under_base_and_mapped_under_union(base, size, tmp_path):
    one = expert(tmp_path / "one", 1, ["<first>", "<both>"])
    two = expert(tmp_path / "two", 2, ["<second>", "<both>"])
    experts = {"a": one, "b": two}
    with pytest.raises(InputError, match=rf"'<second>' at the id {size}.*'<first>'.*`tokenizer: union`"):
        merged(base, experts, tmp_path / "refused")
    out = merged(base, experts, tmp_path / "out", "ties", tokenizer="union")
    tokenizer = AutoTokenizer.from_pretrained(out)
    names = ["<first>", "<both>", "<second>"]
    assert [tokenizer(name).input_ids for name in names] == [[size], [size + 1], [size + 2]]
    found, a, b = weights(out), weights(one), weights(two)
    for table in (TABLE, HEAD):
        torch.testing.assert_close(found[table][size], a[table][size])
        torch.testing.assert_close(found[table][size + 2], b[table][size])
        both = (a[table][size + 1] + b[table][size + 1]) / 2
        torch.testing.assert_close(found[table][size + 1], both)
    plain = {name: expert(tmp_path / f"plain {name}", seed) for name, seed in (("a", 1), ("b", 2))}
    expected = merged(base, plain, tmp_path / "expected")
    linear = merged(base, experts, tmp_path / "linear", tokenizer="union")
    ids = tokenizer(TEXT).input_ids
    torch.testing.assert_close(logits(linear, ids)[:, :size], logits(expected, ids), rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def moved(base, size):
    """An expert whose words stand in another order, and the same with the base's order."""
    plain = expert(base.parent / "in order", 3)
    tokenizer = AutoTokenizer.from_pretrained(base)
    words = [word for word in tokenizer.get_vocab() if tokenizer.get_vocab()[word] > 200]
    other = build_tokenizer([WORDS], 2048)
    content = json.loads(other.backend_tokenizer.to_str())
    vocab = content["model"]["vocab"]
    turned = dict(zip(words, [vocab[word] for word in reversed(words)], strict=True))
    content["model"]["vocab"] = vocab | turned
    folder = base.parent / "moved"
    AutoModelForCausalLM.from_pretrained(plain).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(json.dumps(content))
    model = AutoModelForCausalLM.from_pretrained(folder)
    order = torch.arange(size)
    for word in words:
        order[turned[word]] = vocab[word]
    with torch.no_grad():
        for table in (model.model.embed_tokens, model.lm_head):
            table.weight.copy_(table.weight[order].clone())
    model.save_pretrained(folder)
    return plain, folder, order


def test_rows_are_matched_by_token_and_not_by_place(base, moved, tmp_path):
    plain, folder, _ = moved
    with pytest.raises(InputError, match=r"maps token .*`tokenizer: union`"):
        merged(base, {"a": folder}, tmp_path / "refused")
    expected = weights(merged(base, {"a": plain}, tmp_path / "expected", "ties"))
    for block_size in (None, 7):
        out = tmp_path / f"out {block_size}"
        merged(base, {"a": folder}, out, "ties", block_size=block_size, tokenizer="union")
        found = weights(out)
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("by_path", [False, True])
def test_the_tokenizer_of_an_expert_or_a_folder(base, moved, tmp_path, by_path):
    plain, folder, order = moved
    expected = weights(merged(base, {"a": plain}, tmp_path / "expected"))
    out = merged(base, {"a": folder}, tmp_path / "out", tokenizer=str(folder) if by_path else "a")
    found = weights(out)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor[order] if name in (TABLE, HEAD) else tensor)
    read = [AutoTokenizer.from_pretrained(one)(TEXT).input_ids for one in (out, folder, base)]
    assert read[0] == read[1] != read[2]
    assert folder.name in notices(out) or "expert 'a'" in notices(out)


def test_end_tokens_are_those_of_the_tokenizer(base, size, tmp_path):
    one = expert(tmp_path / "one", 1, ["<end>"])
    for file in ("config.json", "generation_config.json"):
        content = json.loads((one / file).read_text())
        (one / file).write_text(json.dumps({**content, "eos_token_id": size}))
    settings = json.loads((one / "tokenizer_config.json").read_text())
    (one / "tokenizer_config.json").write_text(json.dumps({**settings, "eos_token": "<end>"}))
    with pytest.raises(InputError, match="eos_token"):
        merged(base, {"a": one}, tmp_path / "refused", tokenizer="union")
    out = merged(base, {"a": one}, tmp_path / "out", tokenizer="a")
    assert config(out)["eos_token_id"] == size
    assert json.loads((out / "generation_config.json").read_text())["eos_token_id"] == size
    assert AutoTokenizer.from_pretrained(out).eos_token == "<end>"
    torch.testing.assert_close(weights(out)[TABLE], weights(one)[TABLE])


def test_an_end_token_that_a_folders_tokenizer_lacks(base, tmp_path):
    other = build_tokenizer([WORDS], 2048)
    content = json.loads(other.backend_tokenizer.to_str().replace("</s>", "<stop>"))
    other.save_pretrained(tmp_path / "other")
    (tmp_path / "other/tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="lacks the token '</s>', which `eos_token_id`"):
        merged(base, {"a": expert(tmp_path / "one", 1)}, tmp_path / "out", tokenizer=str(tmp_path / "other"))


def _say(folder, **changes):
    (folder / "config.json").write_text(json.dumps({**config(folder), **changes}))
    return folder


def test_ids_in_settings_within_settings_are_moved_taken_over_or_missed_by_name(size, tmp_path):
    ids = {"pad_token_id": size, "inner": {"bos_token_id": [size]}}
    one = _say(expert(tmp_path / "one", 1, ["<end>"]), sub=ids)
    moved_ids = {"pad_token_id": size + 1, "inner": {"bos_token_id": [size + 1]}}
    two = _say(expert(tmp_path / "two", 2, ["<other>", "<end>"]), sub=moved_ids)
    plain = _say(tiny_llama(tmp_path / "plain"), sub={"pad_token_id": 2, "inner": {"bos_token_id": [1]}})
    taken = merged(plain, {"a": one}, tmp_path / "taken", tokenizer="a")
    assert config(taken)["sub"] == ids
    moved = merged(one, {"b": two}, tmp_path / "moved", tokenizer="b")
    assert config(moved)["sub"] == moved_ids
    kept = merged(one, {"b": two}, tmp_path / "kept", tokenizer="union")
    assert config(kept)["sub"] == ids
    with pytest.raises(InputError, match=r"lacks the token '<end>', which `sub\.pad_token_id`"):
        merged(one, {"b": two}, tmp_path / "lost", tokenizer=str(plain))


def test_rows_are_filled_up_with_rows_that_never_win(base, size, tmp_path):
    one = expert(tmp_path / "one", 1, ["<new>"])
    out = merged(base, {"a": one}, tmp_path / "out", tokenizer="union", pad_to_multiple_of=64)
    rows = -(-(size + 1) // 64) * 64
    found = weights(out)
    assert config(out)["vocab_size"] == rows == found[TABLE].shape[0] == found[HEAD].shape[0]
    start = weights(base)[HEAD]
    torch.testing.assert_close(found[HEAD][size + 1], start.mean(0), rtol=1e-5, atol=1e-6)
    again = merged(base, {"a": one}, tmp_path / "less", tokenizer="union", pad_to_multiple_of=1)
    assert config(again)["vocab_size"] == size + 1


def test_rows_that_only_the_base_pads_are_kept(size, tmp_path):
    base = expert(tmp_path / "base", 0, multiple=64)
    one = expert(tmp_path / "one", 1, ["<new>"])
    out = merged(base, {"a": one}, tmp_path / "out", tokenizer="union")
    found, ours = weights(out)[HEAD], weights(base)[HEAD]
    assert len(found) == len(ours) > size + 1
    torch.testing.assert_close(found[size], weights(one)[HEAD][size])
    assert torch.equal(found[size + 1 :], ours[size + 1 :])


def test_a_new_tokens_task_vector_is_0_whatever_the_dtypes(base, size, tmp_path):
    half = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    half.save_pretrained(tmp_path / "half")
    AutoTokenizer.from_pretrained(base).save_pretrained(tmp_path / "half")
    one = expert(tmp_path / "one", 1, ["<new>"])
    two = expert(tmp_path / "two", 2)
    out = merged(tmp_path / "half", {"a": one, "b": two}, tmp_path / "out", tokenizer="union")
    assert torch.equal(weights(out)[TABLE][size], weights(one)[TABLE][size].bfloat16())


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"tokenizer": "nobody"}, "neither base, union, an expert"),
        ({"tokenizer": "union", "space": "factors"}, "is no adapter"),
    ],
)
def test_what_is_no_tokenizer_is_refused(base, tmp_path, settings, says):
    with pytest.raises(InputError, match=says):
        merged(base, {"a": expert(tmp_path / "one", 1)}, tmp_path / "out", **settings)


def test_experts_without_a_tokenizer_cannot_be_matched(base, tmp_path):
    one = expert(tmp_path / "one", 1, ["<new>"])
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (one / file).unlink()
    with pytest.raises(InputError, match="no vocabulary that can be read"):
        merged(base, {"a": one}, tmp_path / "out", tokenizer="union")
    with pytest.raises(InputError, match=r"rows in .*tokenizer\.json or vocab\.json"):
        merged(base, {"a": one}, tmp_path / "out")


def test_rows_in_blocks_of_any_size(base, size):
    opened = Checkpoint.open(base)
    assert set(token_tables(opened)) == {TABLE, HEAD}
    places = torch.tensor([5, 6, 7, -1, -1, 3, 2, -1, 9, 10])
    stored = opened.tensor(TABLE)
    filled = FilledRows((10, 32), {3: [(opened, TABLE, 1), (opened, TABLE, 4)]}, lambda: torch.zeros(32))
    rows = TokenRows(opened, TABLE, places, filled, "F32")
    expected = torch.stack([stored[place] if place >= 0 else torch.zeros(32) for place in places])
    expected[3] = (stored[1] + stored[4]) / 2
    for start in (0, 1, 31, 32, 100):
        for stop in (start + 1, start + 64, 320):
            assert torch.equal(rows.block(start, stop), expected.reshape(-1)[start:stop])


def test_a_folders_tokenizer_that_asks_for_code_is_refused(base, tmp_path):
    other = tmp_path / "other"
    AutoTokenizer.from_pretrained(base).save_pretrained(other)
    settings = json.loads((other / "tokenizer_config.json").read_text())
    (other / "tokenizer_config.json").write_text(
        json.dumps({**settings, "auto_map": {"AutoTokenizer": "x.X"}})
    )
    one = expert(tmp_path / "one", 1, ["<new>"])
    with pytest.raises(InputError, match="code of its own"):
        merged(base, {"a": one}, tmp_path / "out", tokenizer=str(other))


@pytest.mark.parametrize("known", [True, False])
def test_rows_that_the_settings_of_the_text_count_are_counted(base, size, tmp_path, known):
    # Models that read images say `vocab_size` in `text_config`; an expert without a tokenizer of its own has
    # the base's tokens where it has as many rows.
    opened = Checkpoint.open(base)
    opened.config = {"text_config": {"vocab_size": size}}
    other = Checkpoint.open(base)
    other.tokenizer_folder = tmp_path
    other.config = {"text_config": {"vocab_size": size if known else size + 1}}
    assert (tokens_of(other, opened) is not None) == known
