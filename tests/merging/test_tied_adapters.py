"""Adapters that change one of two tables which their base ties, merged as they run beside it."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from tied_adapters import KINDS, logits, peft_logits, tied_adapter
from tiny import tiny_llama, tiny_t5

from merging.checkpoints.adapted import open_checkpoint
from merging.merge import merge
from merging.recipe import Recipe
from results.errors import InputError

HEAD, TABLE = "lm_head.weight", "model.embed_tokens.weight"


@pytest.fixture(scope="module")
def tied(tmp_path_factory):
    return tiny_llama(tmp_path_factory.mktemp("tied") / "base", tie_word_embeddings=True)


def merged(base, experts, out, method="task_arithmetic", **settings):
    recipe = Recipe(base=base, experts=experts, method={"name": method, "scaling": 1.0, **settings})
    return merge(recipe, out, progress=False)


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_merged_alone_says_what_it_says_beside_its_base(tied, tmp_path, kind):
    adapter = tied_adapter(tied, tmp_path / "adapter", **KINDS[kind])
    out = merged(tied, {"a": adapter}, tmp_path / "merged")
    torch.testing.assert_close(logits(out), peft_logits(tied, adapter), rtol=1e-4, atol=1e-4)
    config = json.loads((out / "config.json").read_text())
    assert config["tie_word_embeddings"] is (kind == "neither")
    assert {HEAD, TABLE} - set(load_file(out / "model.safetensors")) == (
        {HEAD} if kind == "neither" else set()
    )
    reported = json.loads((out / "merge.json").read_text())["differences"]
    ties = [one for one in reported if one["key"] == "config.tie_word_embeddings"]
    assert [(one["base"], one["experts"], one["verdict"]) for one in ties] == (
        [] if kind == "neither" else [(True, {"a": False}, "notice")]
    )


def test_several_adapters_that_change_different_tables_are_merged_into_an_untied_model(tied, tmp_path):
    experts = {
        name: tied_adapter(tied, tmp_path / name, **KINDS[kind])
        for name, kind in (("a", "embedding saved"), ("b", "head's factors"), ("c", "neither"))
    }
    found = load_file(merged(tied, experts, tmp_path / "merged") / "model.safetensors")
    start = load_file(tied / "model.safetensors")[TABLE]
    saved = load_file(experts["a"] / "adapter_model.safetensors")[
        "base_model.model.model.embed_tokens.weight"
    ]
    torch.testing.assert_close(found[TABLE], saved)
    factors = load_file(experts["b"] / "adapter_model.safetensors")
    low_rank = (
        factors["base_model.model.lm_head.lora_B.weight"] @ factors["base_model.model.lm_head.lora_A.weight"]
    )
    torch.testing.assert_close(found[HEAD], start + 6 / 4 * low_rank, rtol=1e-5, atol=1e-5)


def test_a_table_that_was_saved_beside_its_factors_stands_for_both(tied, tmp_path):
    """As peft loads it: into the one parameter that the base has for the two."""
    adapter = tied_adapter(tied, tmp_path / "adapter", **KINDS["embedding's factors"])
    file = adapter / "adapter_model.safetensors"
    stored = load_file(file)
    (name,) = (name for name in stored if ".base_layer." in name)
    stored[name] = stored[name] + 0.3
    save_file(stored, file, metadata={"format": "pt"})
    out = merged(tied, {"a": adapter}, tmp_path / "merged")
    torch.testing.assert_close(logits(out), peft_logits(tied, adapter), rtol=1e-4, atol=1e-4)


def test_what_cannot_be_done_right_is_refused_by_the_setting(tied, tmp_path):
    keeps = tied_adapter(tied, tmp_path / "keeps", **KINDS["embedding's factors"], ensure_weight_tying=True)
    with pytest.raises(InputError, match="ensure_weight_tying"):
        open_checkpoint(keeps)
    t5 = tiny_t5(tmp_path / "t5")
    adapter = tied_adapter(tied, tmp_path / "shared", **KINDS["neither"])
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": str(t5)}))
    table = load_file(t5 / "model.safetensors")["shared.weight"]
    save_file({"base_model.model.shared.weight": table}, adapter / "adapter_model.safetensors")
    with pytest.raises(InputError, match=r"shared.*encoder-decoders cannot.*modules_to_save"):
        open_checkpoint(adapter)


@pytest.mark.parametrize(
    "setting", [{"alora_invocation_tokens": [1]}, {"use_qalora": True}, {"layer_replication": [[0, 2]]}]
)
def test_adapters_that_are_no_fixed_sum_are_refused(tied, tmp_path, setting):
    adapter = tied_adapter(tied, tmp_path / "adapter", **KINDS["neither"])
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**config, **setting}))
    with pytest.raises(InputError, match=next(iter(setting))):
        open_checkpoint(adapter)
    with pytest.raises(InputError, match="I8"):
        (adapter / "adapter_config.json").write_text(json.dumps(config))
        stored = load_file(adapter / "adapter_model.safetensors")
        packed = {name: tensor.to(torch.int8) for name, tensor in stored.items()}
        save_file(packed, adapter / "adapter_model.safetensors")
        open_checkpoint(adapter)


@pytest.mark.parametrize("base_ties", [True, False])
def test_tables_that_only_one_ties_are_taken_apart_where_that_is_accepted(tmp_path, base_ties):
    base = tiny_llama(tmp_path / "base", tie_word_embeddings=base_ties)
    expert = tiny_llama(tmp_path / "expert", 1, tie_word_embeddings=not base_ties)
    recipe = {
        "base": base,
        "experts": {"a": expert},
        "method": {"name": "task_arithmetic", "scaling": 1.0},
    }
    for missing in ("refuse", "base"):
        with pytest.raises(InputError, match=r"lm_head\.weight.*accept_differences: \[config\.tie_word"):
            merge(Recipe(**recipe, missing=missing), tmp_path / "refused", progress=False)
    accepted = Recipe(**recipe, accept_differences=["config.tie_word_embeddings"])
    out = merge(accepted, tmp_path / "out", progress=False)
    torch.testing.assert_close(logits(out), logits(expert), rtol=1e-4, atol=1e-4)
    assert json.loads((out / "config.json").read_text())["tie_word_embeddings"] is False
