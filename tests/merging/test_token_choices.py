"""Rows that a recipe chooses by token: whose they are, in which models they stand, and what is refused."""

import json
import shutil

import pytest
import torch
import yaml
from added_tokens import HEAD, TABLE, TEXT, expert, logits, merged, notices, weights
from mergekit_files import TOKEN_FILES, TOKENS, by_token, make_token_models, recipe_of_file
from tiny import tiny_llama
from transformers import AutoTokenizer

from merging.checkpoints.checkpoint import Checkpoint
from merging.checkpoints.token_rows import ChosenRows, TokenRows
from merging.merge import merge
from merging.recipe_file import load_recipe
from results.errors import InputError

APPLES, HOW = "Ġapples", "Ġhow"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A base, one with the tokens <a> and <both>, and one with <both>, <b> and a row for padding."""
    folder = tmp_path_factory.mktemp("choices")
    tiny_llama(folder / "base")
    expert(folder / "one", 1, ["<a>", "<both>"])
    expert(folder / "two", 2, ["<both>", "<b>"], 8)
    return folder


@pytest.fixture(scope="module")
def places(folder):
    return {name: AutoTokenizer.from_pretrained(folder / name).get_vocab() for name in ("base", "one", "two")}


def chosen(folder, out, tokens, tokenizer="union", **settings):
    """A merge of the two by half and a quarter, with rows that are chosen."""
    experts = {
        "a": {"path": str(folder / "one"), "weight": 0.5},
        "b": {"path": str(folder / "two"), "weight": 0.25},
    }
    return merged(
        folder / "base", experts, out, tokenizer={"source": tokenizer, "tokens": tokens}, **settings
    )


def rows(out, table):
    found = AutoTokenizer.from_pretrained(out).get_vocab()
    return {token: weights(out)[table][place] for token, place in found.items()}


def token_of(model, token):
    return {"kind": "model_token", "model": model, "token": token}


@pytest.mark.parametrize("block_size", [None, 7])
def test_a_chosen_row_stands_in_the_models_that_lack_the_token_or_in_all(
    folder, places, tmp_path, block_size
):
    tokens = {
        "<a>": {"source": token_of("base", APPLES)},
        "<both>": {"source": "b"},
        "<b>": {"source": "b", "force": True},
        "<zero>": {"source": {"kind": "zero"}},
        "<new>": {"source": {"kind": "model_token", "model": "a", "token_id": 3}},
        APPLES: {"source": token_of("a", HOW), "force": True},
        HOW: {"source": token_of("a", APPLES)},
    }
    out = chosen(folder, tmp_path / "out", tokens, block_size=block_size)
    plain = chosen(folder, tmp_path / "plain", {})
    for table in (TABLE, HEAD):
        base, one, two = (
            {token: weights(folder / name)[table][place] for token, place in places[name].items()}
            for name in ("base", "one", "two")
        )
        found, usual = rows(out, table), rows(plain, table)
        expected = {
            **usual,
            # In the base and in b stands the base's row of another token, in a its own.
            "<a>": base[APPLES] + 0.5 * (one["<a>"] - base[APPLES]),
            "<both>": two["<both>"] + 0.5 * (one["<both>"] - two["<both>"]),
            "<b>": two["<b>"],
            "<zero>": torch.zeros(len(two["<b>"])),
            "<new>": weights(folder / "one")[table][3],
            APPLES: one[HOW],
            HOW: usual[HOW],  # which all have
        }
        assert found.keys() == expected.keys()
        for token, row in expected.items():
            torch.testing.assert_close(found[token], row, rtol=1e-5, atol=1e-6, msg=token)
    assert "the token '<zero>' has the row of zeros in the models that lack it" in notices(out)
    assert f"the token '{APPLES}' has the row of 'a' at {places['one'][HOW]} in all models" in notices(out)
    recipe = json.loads((out / "merge.json").read_text())["recipe"]
    assert (recipe["tokenizer"], recipe["tokens"]["<both>"]) == ("union", {"source": "b", "force": False})


def test_an_expert_that_lacks_a_token_of_the_base_has_the_chosen_row(places, tmp_path):
    base, plain = expert(tmp_path / "base", 0, ["<mine>"]), expert(tmp_path / "plain", 3)
    tokens = {"<mine>": {"source": token_of("a", APPLES)}}
    out = merged(base, {"a": plain}, tmp_path / "out", tokenizer={"source": "base", "tokens": tokens})
    usual = merged(base, {"a": plain}, tmp_path / "usual")
    theirs = weights(plain)[TABLE][places["base"][APPLES]]
    torch.testing.assert_close(weights(out)[TABLE][-1], theirs)
    torch.testing.assert_close(weights(usual)[TABLE][-1], weights(base)[TABLE][-1])
    torch.testing.assert_close(weights(out)[TABLE][:-1], weights(usual)[TABLE][:-1])


def test_a_token_of_the_bases_tokenizer_behind_its_table_gets_a_row(folder, places, tmp_path):
    base = shutil.copytree(folder / "base", tmp_path / "base")
    read = AutoTokenizer.from_pretrained(base)
    read.add_tokens(["<early>", "<late>"])
    read.save_pretrained(base)
    experts = {"a": str(folder / "one")}
    early, late = (read.get_vocab()[token] for token in ("<early>", "<late>"))
    assert early == len(weights(base)[TABLE])
    for force in (False, True):
        tokens = {"<late>": {"source": token_of("a", "<a>"), "force": force}}
        out = merged(base, experts, tmp_path / f"out {force}", tokenizer={"source": "base", "tokens": tokens})
        for table in (TABLE, HEAD):
            assert len(weights(out)[table]) == late + 1
            theirs = weights(folder / "one")[table][places["one"]["<a>"]]
            torch.testing.assert_close(weights(out)[table][late], theirs)
            mean = weights(base)[table].mean(dim=0)
            torch.testing.assert_close(weights(out)[table][early], mean, rtol=1e-5, atol=1e-6)
    of_base = {"source": "base", "tokens": {"<late>": {"source": "base"}}}
    with pytest.raises(InputError, match=f"takes the row {late} of .*base, whose table .* has {early} rows"):
        merged(base, experts, tmp_path / "refused", tokenizer=of_base)


def test_a_token_is_added_to_the_tokenizer_that_lacks_it_and_texts_are_split_by_it(folder, places, tmp_path):
    tokens = {"<both>": {"source": "a"}, "<new>": {"source": token_of("base", APPLES)}}
    for tokenizer in ("base", "a", str(folder / "base")):
        out = chosen(folder, tmp_path / f"out {tokenizer[0]}", tokens, tokenizer)
        read = AutoTokenizer.from_pretrained(out)
        ids = read(f"<new>{TEXT}<both>").input_ids
        assert (ids[0], ids[-1]) == (read.get_vocab()["<new>"], read.get_vocab()["<both>"])
        assert "<both>" in read.decode(ids) and "<both>" not in read.decode(ids, skip_special_tokens=True)
        torch.testing.assert_close(weights(out)[TABLE][ids[0]], weights(folder / "base")[TABLE][
            places["base"][APPLES]
        ])  # fmt: skip
        assert logits(out, ids).shape[1] == len(read)


def test_the_row_of_padding_has_no_name_and_is_taken_by_its_id(folder, places, tmp_path):
    last = len(weights(folder / "two")[TABLE]) - 1
    assert last not in places["two"].values()
    tokens = {"<b>": {"source": {"kind": "model_token", "model": "b", "token_id": last}, "force": True}}
    out = chosen(folder, tmp_path / "out", tokens)
    assert torch.equal(rows(out, HEAD)["<b>"], weights(folder / "two")[HEAD][last])


@pytest.mark.parametrize(
    ("tokenizer", "says"),
    [
        (
            {"tokens": {"<b>": {"source": "c"}}},
            r"'<b>' the row of 'c', which is neither base nor an expert \(a, b\)\.",
        ),
        ({"tokens": {"<b>": {"source": "a"}}}, r"'<b>' the row of 'a', which lacks the token '<b>'"),
        ({"tokens": {"<b>": {"source": token_of("b", "no")}}}, r"'b', which lacks the token 'no'"),
        ({"tokens": {"<b>": {"source": {**token_of("b", "x"), "token_id": 3}}}}, "either 'token' or 'token_"),
        ({"tokens": {"<b>": {"source": {"kind": "model_token", "model": "b"}}}}, "either 'token' or 'token_"),
        ({"tokens": {"<b>": {"source": {"kind": "zeros"}}}}, "'kind' is 'zeros', where model_token or zero"),
        ({"tokens": {"<b>": {"source": None}}}, r"a model, \{kind: model_token.* is expected"),
        ({"tokens": {"<b>": {"force": True}}}, "'tokenizer.tokens.<b>': the key 'source' is required"),
        ({"tokenz": {}}, "'tokenizer.tokenz' is unknown; known are source, tokens, pad_to_multiple_of"),
        (
            {"tokens": {"<b>": {"source": {"kind": "model_token", "model": "b", "token_id": 999}}}},
            r"takes the row 999 of .*two, whose table .* has \d+ rows",
        ),
    ],
)
def test_what_is_no_choice_is_refused_in_a_sentence(folder, tmp_path, tokenizer, says):
    path = tmp_path / "recipe.yaml"
    content = {
        "base": str(folder / "base"),
        "experts": {"a": str(folder / "one"), "b": str(folder / "two")},
        "method": {"name": "average"},
        "tokenizer": tokenizer,
    }
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(InputError, match=says) as refused:
        merge(load_recipe(path), tmp_path / "out", progress=False)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_an_expert_that_is_called_as_the_base_is_refused(folder, tmp_path):
    with pytest.raises(InputError, match="An expert is called 'base', which is the base in"):
        merged(
            folder / "base",
            {"base": str(folder / "one")},
            tmp_path / "out",
            tokenizer={"source": "union", "tokens": {"<a>": {"source": "base"}}},
        )


def test_rows_are_said_once(tmp_path):
    path = tmp_path / "recipe.yaml"
    twice = {"tokenizer": {"pad_to_multiple_of": 8}, "pad_to_multiple_of": 8}
    content = {"base": "b", "experts": {"a": "x"}, "method": {"name": "average"}, **twice}
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(InputError, match="'pad_to_multiple_of' stands in the recipe and under 'tokenizer'"):
        load_recipe(path)


def test_chosen_rows_in_blocks_of_any_size(folder):
    base, one = Checkpoint.open(folder / "base"), Checkpoint.open(folder / "one")
    table = base.block(TABLE, 0, base.info(TABLE).numel).reshape(-1, base.info(TABLE).shape[1])
    columns = table.shape[1]
    seen = TokenRows(base, TABLE, torch.arange(9), None, "F32")
    rows = ChosenRows(seen, {0: None, 3: (one, TABLE, 5), 4: (one, TABLE, 1), 8: (one, TABLE, 0)})
    theirs = one.block(TABLE, 0, 9 * columns).reshape(9, columns)
    whole = table[:9].clone()
    whole[0], whole[3], whole[4], whole[8] = 0, theirs[5], theirs[1], theirs[0]
    for size in (1, columns - 1, columns, 3 * columns + 2, 9 * columns):
        starts = range(0, 9 * columns, size)
        parts = [rows.block(start, min(start + size, 9 * columns)) for start in starts]
        assert torch.equal(torch.cat(parts), whole.flatten()), size


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    make_token_models(folder)
    return folder


THEIRS = {
    "rows_task_arithmetic": [
        [0.9375, -0.087890625, 0.046142578125],
        [-0.67578125, -0.49609375, 0.3515625],
        [0.384765625, 0.41015625, 1.1171875],
        [-0.380859375, 0.287109375, -0.013916015625],
        [0.859375, -0.51171875, -0.00122833251953125],
        [0.0, 0.0, 0.0],
        [-0.361328125, 0.0751953125, -0.33203125],
    ],
    "rows_linear": [
        [1.0, 0.2451171875, 0.08349609375],
        [-0.50390625, -0.62890625, 0.40234375],
        [0.384765625, 0.41015625, 1.1171875],
        [-0.380859375, 0.287109375, -0.013916015625],
        [0.859375, -0.51171875, -0.00122833251953125],
        [0.0, 0.0, 0.0],
        [-0.416015625, 0.02392578125, -0.357421875],
    ],
}
"""The first three entries of the embedding's rows of `TOKENS`, as mergekit 0.1.5 wrote them in bfloat16, by
`tests/perf/compare_mergekit.py MERGEKIT_YAML --only rows_task_arithmetic rows_linear --values`; all other
entries of all tensors were equal."""


@pytest.mark.parametrize("name", TOKEN_FILES)
def test_files_of_mergekit_choose_rows_with_mergekits_meaning(models, tmp_path, name):
    recipe = recipe_of_file(TOKEN_FILES[name](models), tmp_path)
    out = merge(recipe, tmp_path / "out", progress=False)
    found, tokens = by_token(out)[TABLE], sorted(AutoTokenizer.from_pretrained(out).get_vocab())
    for token, expected in zip(TOKENS, THEIRS[name], strict=True):
        row = found[tokens.index(token)][:3].float()
        torch.testing.assert_close(row, torch.tensor(expected), rtol=2**-7, atol=1e-6, msg=token)


def test_a_model_of_no_part_in_the_merge_is_refused(models, tmp_path):
    content = TOKEN_FILES["rows_linear"](models)
    content["tokenizer"]["tokens"] = {"<d>": {"source": str(tmp_path)}}
    path = tmp_path / "mergekit.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(InputError, match="which is neither base nor an expert"):
        merge(load_recipe(path), tmp_path / "out", progress=False)
