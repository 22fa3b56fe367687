"""Models stacked from blocks of others: their tensors, their settings, and what cannot be stacked."""

import json

import pytest
import torch
import yaml
from mergekit_files import make_models
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from merging.checkpoints.adapted import open_checkpoint
from merging.checkpoints.stacked import is_embedding
from merging.merge import merge
from merging.recipe import Recipe
from merging.recipe_file import load_recipe
from results.errors import InputError


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    make_models(folder)
    return folder


def weights(folder):
    return load_file(folder / "model.safetensors")


def written(tmp_path, **content):
    path = tmp_path / "mergekit.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_a_passthrough_of_slices_is_a_deeper_model_that_generates(models, tmp_path):
    path = written(
        tmp_path,
        merge_method="passthrough",
        slices=[
            {"sources": [{"model": str(models / "a"), "layer_range": [0, 3]}]},
            {"sources": [{"model": str(models / "b"), "layer_range": [1, 4]}]},
        ],
        dtype="float32",
    )
    out = merge(load_recipe(path), tmp_path / "out", progress=False)
    found, a, b = weights(out), weights(models / "a"), weights(models / "b")
    for place, (source, block) in enumerate([(a, 0), (a, 1), (a, 2), (b, 1), (b, 2), (b, 3)]):
        for name in [name for name in source if f"layers.{block}." in name]:
            assert torch.equal(found[name.replace(f"layers.{block}.", f"layers.{place}.")], source[name])
    assert torch.equal(found["model.embed_tokens.weight"], a["model.embed_tokens.weight"])
    assert torch.equal(found["model.norm.weight"], b["model.norm.weight"])
    assert torch.equal(found["lm_head.weight"], b["lm_head.weight"])
    assert json.loads((out / "config.json").read_text())["num_hidden_layers"] == 6
    model, report = AutoModelForCausalLM.from_pretrained(out, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    prompt = AutoTokenizer.from_pretrained(out)("hello", return_tensors="pt")
    assert model.generate(**prompt, max_new_tokens=3, do_sample=False, pad_token_id=0).shape[1] > 3
    assert str(models) not in (out / "README.md").read_text()


def test_a_slice_is_merged_by_its_own_sources_and_lists(models, tmp_path):
    def source(name, first, stop, **parameters):
        return {"model": str(models / name), "layer_range": [first, stop], "parameters": parameters}

    path = written(
        tmp_path,
        merge_method="task_arithmetic",
        base_model=str(models / "base"),
        slices=[
            {
                "sources": [source("base", 0, 2), source("a", 2, 4, weight=[0, 1])],
                "parameters": {"lambda": 0.5},
            },
            {
                "sources": [
                    source("base", 1, 4),
                    source("b", 1, 4, weight=[{"filter": "mlp", "value": [1, 0]}]),
                ]
            },
        ],
        parameters={"weight": 0.25},
    )
    found = weights(merge(load_recipe(path), tmp_path / "out", progress=False))
    base, a, b = (weights(models / name) for name in ("base", "a", "b"))

    def expected(share, experts, block, of_base, name):
        place = [name.replace("layers.0.", f"layers.{one}.") for one in (of_base, block)]
        return base[place[0]] + share * (experts[place[1]] - base[place[0]])

    mlp, norm = "model.layers.0.mlp.up_proj.weight", "model.layers.0.input_layernorm.weight"
    for place, (experts, block, of_base, shares) in enumerate([
        (a, 2, 0, (0.0, 0.0)), (a, 3, 1, (0.5, 0.5)), (b, 1, 1, (1.0, 0.25)), (b, 2, 2, (0.5, 0.25)),
        (b, 3, 3, (0.0, 0.25)),
    ]):  # fmt: skip
        for name, share in zip((mlp, norm), shares, strict=True):
            here = found[name.replace("layers.0.", f"layers.{place}.")]
            torch.testing.assert_close(here, expected(share, experts, block, of_base, name))
    # Outside of blocks lists have their first value: of the first slice before them, of the last behind.
    table = "model.embed_tokens.weight"
    torch.testing.assert_close(found[table], base[table])
    torch.testing.assert_close(found["model.norm.weight"], expected(0.25, b, 0, 0, "model.norm.weight"))


def test_a_stack_stands_where_a_folder_does_and_lists_of_blocks_follow(models, tmp_path):
    for name in "xy":
        folder = tmp_path / name
        folder.mkdir()
        for file in (models / "a").iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        config = json.loads((folder / "config.json").read_text())
        config["layer_types"] = ["full_attention", "sliding_attention", "full_attention", "full_attention"]
        (folder / "config.json").write_text(json.dumps(config))
    stack = f"{tmp_path / 'x'}[0:2] | {tmp_path / 'y'}[1:3]"
    opened = open_checkpoint(stack)
    kinds = ["full_attention", "sliding_attention", "sliding_attention", "full_attention"]
    assert opened.config["layer_types"] == kinds
    other = open_checkpoint(f"{tmp_path / 'x'}[0:2] | {tmp_path / 'y'}[2:4]")
    assert opened.identity().weights != other.identity().weights
    recipe = Recipe(base=stack, experts={"same": stack}, method={"name": "average"})
    out = merge(recipe, tmp_path / "out", progress=False)
    assert len({name.split(".")[2] for name in weights(out) if "layers" in name}) == 4


@pytest.mark.parametrize(
    ("stack", "says"),
    [
        ("{a}[2:5]", ["4 blocks"]),
        ("{a}[2:2]", ["4 blocks"]),
        ("{a}[0:1] | {narrow}[0:1]", ["differ", "shape"]),
        ("{a}[0:1] | {other}[0:1]", ["rms_norm_eps"]),
        ("{nothing}[0:1]", ["no such folder"]),
    ],
)
def test_what_cannot_be_stacked_is_refused(models, tmp_path, stack, says):
    from tiny import tiny_llama

    narrow = tiny_llama(tmp_path / "narrow", width=16)
    other = tiny_llama(tmp_path / "other", rms_norm_eps=0.1)
    places = {"a": models / "a", "narrow": narrow, "other": other, "nothing": tmp_path / "nothing"}
    named = stack.format(**places)
    with pytest.raises(InputError) as refusal:
        merge(
            Recipe(base=named, experts={"e": named}, method={"name": "average"}),
            tmp_path / "out",
            progress=False,
        )
    assert all(words in str(refusal.value) for words in says), str(refusal.value)


@pytest.mark.parametrize(
    ("slices", "says"),
    [
        ([{"sources": [("base", 0, 2), ("a", 0, 3)]}], ["slice 1", "different numbers of blocks"]),
        ([{"sources": [("a", 0, 2)]}], ["slice 1", "base model is none of its sources"]),
        (
            [
                {"sources": [("base", 0, 2), ("a", 0, 2)]},
                {"sources": [("base", 0, 2), ("a", 0, 2), ("b", 0, 2)]},
            ],
            ["different numbers of models (1, 2)"],
        ),
        ([{"sources": [("base", 0, 2), ("a", 0, 2)], "residual_weight": 1}], ["residual_weight"]),
    ],
)
def test_slices_that_do_not_fit_are_refused(models, tmp_path, slices, says):
    for one in slices:
        one["sources"] = [
            {"model": str(models / name), "layer_range": list(taken)} for name, *taken in one["sources"]
        ]
    path = written(
        tmp_path,
        merge_method="task_arithmetic",
        base_model=str(models / "base"),
        parameters={"weight": 1},
        slices=slices,
    )
    with pytest.raises(InputError) as refusal:
        load_recipe(path)
    assert all(words in str(refusal.value) for words in says), str(refusal.value)


def test_dense_blocks_and_blocks_of_experts_keep_their_places(tmp_path):
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    torch.manual_seed(0)
    for name in "ab":
        config = Qwen3MoeConfig(
            vocab_size=16, hidden_size=16, intermediate_size=32, moe_intermediate_size=8, num_experts=2,
            num_experts_per_tok=1, num_hidden_layers=4, num_attention_heads=2, num_key_value_heads=1,
            head_dim=8, decoder_sparse_step=2,
        )  # fmt: skip
        Qwen3MoeForCausalLM(config).save_pretrained(tmp_path / name)
    a, b = tmp_path / "a", tmp_path / "b"
    for fits in (f"{a}[0:2] | {a}[0:4]", f"{a}[2:4] | {b}[0:2]", f"{a}[0:1] | {b}[1:2]"):
        opened = open_checkpoint(fits)
        experts = {name.split(".")[2] for name in opened.names if ".experts." in name}
        assert experts == {str(i) for i in range(1, opened.config["num_hidden_layers"], 2)}
    for misfits in (f"{a}[0:2] | {a}[3:4]", f"{a}[1:3]", f"{a}[0:2] | {b}[1:2]"):
        with pytest.raises(InputError, match="another kind"):
            open_checkpoint(misfits)


def test_a_head_or_final_norm_that_is_named_after_the_embedding_is_the_last_parts(tmp_path):
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    for seed, name in enumerate("ab"):
        torch.manual_seed(seed)
        config = GPTNeoXConfig(
            vocab_size=16, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2
        )
        GPTNeoXForCausalLM(config).save_pretrained(tmp_path / name)
    opened = open_checkpoint(f"{tmp_path / 'a'}[0:1] | {tmp_path / 'b'}[1:2]")
    first, last = weights(tmp_path / "a"), weights(tmp_path / "b")
    for name, owner in {"gpt_neox.embed_in.weight": first, "embed_out.weight": last}.items():
        assert torch.equal(opened.tensor(name), owner[name])
    assert not is_embedding("model.embedding_norm.weight") and is_embedding("model.embed_tokens.weight")
