"""Every key in which base and experts differ is known, refused by name, or accepted; and in merge.json."""

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch
from tied_adapters import logits
from tiny import tiny_llama, tiny_t5
from transformers import AutoConfig, AutoModelForCausalLM

from merging.allowed_differences import allowed
from merging.chat_templates import CHAT_TEMPLATES
from merging.checkpoints.checkpoint import Checkpoint
from merging.checkpoints.tokenizer_files import chat_template
from merging.compared_settings import current_name
from merging.differences import compare_settings
from merging.merge import merge
from merging.recipe import Recipe
from merging.recipe_file import load_recipe
from results.errors import InputError

ROPE = "config.rope_parameters.rope_theta"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tiny_llama(tmp_path_factory.mktemp("differences") / "base")
    # Rows beyond the tokenizer's, as large models have them.
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.resize_token_embeddings(model.config.vocab_size + 5)
    model.save_pretrained(folder)
    return folder


def expert(base: Path, name: Path, change=lambda folder: None) -> Path:
    """A copy of the base, its weights moved a little, and changed."""
    shutil.copytree(base, name)
    model = AutoModelForCausalLM.from_pretrained(base)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01)
    config = (name / "config.json").read_text()
    model.save_pretrained(name)
    (name / "config.json").write_text(config)
    change(name)
    return name


def edit(name, **keys):
    """What changes keys of a JSON file; None takes one out."""

    def change(folder):
        content = json.loads((folder / name).read_text()) | keys
        kept = {key: value for key, value in content.items() if value is not None}
        (folder / name).write_text(json.dumps(kept))

    return change


def adding(**tokens):
    def change(folder):
        content = json.loads((folder / "tokenizer.json").read_text())
        for token, place in tokens.items():
            content["added_tokens"].append(
                {**content["added_tokens"][0], "id": place, "content": f"<{token}>"}
            )
        (folder / "tokenizer.json").write_text(json.dumps(content))

    return change


def recipe_of(base, experts, *accepted):
    method = {"name": "task_arithmetic", "scaling": 1.0}
    return Recipe(base=base, experts=experts, method=method, accept_differences=list(accepted))


def refusal(base, experts, tmp_path, *accepted):
    with pytest.raises(InputError) as error:
        merge(recipe_of(base, experts, *accepted), tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()
    assert "\n" not in str(error.value)
    return str(error.value)


def differences(out):
    return {one["key"]: one for one in json.loads((out / "merge.json").read_text())["differences"]}


@pytest.mark.parametrize(
    "written",
    [{"rope_theta": 500000, "rope_parameters": None}, {"rope_parameters": {"rope_theta": 5e5}}],
    ids=["as before transformers 5", "as now"],
)
def test_another_rope_theta_is_refused_with_both_values_and_accepted_by_either_name(base, tmp_path, written):
    bad = expert(base, tmp_path / "bad", edit("config.json", **written))
    said = refusal(base, {"good": base, "bad": bad}, tmp_path)
    for words in ("'bad'", str(bad), ROPE, "500000", "10000", "accept_differences"):
        assert words in said
    for name in (ROPE, "config.rope_theta", "config.rope_parameters"):
        out = merge(recipe_of(base, {"bad": bad}, name), tmp_path / name, progress=False)
        found = differences(out)[ROPE]
        assert (found["base"], found["experts"]["bad"], found["verdict"]) == (10000, 500000, "accepted")
        assert json.loads((out / "config.json").read_text())["rope_parameters"]["rope_theta"] == 10000


def test_both_forms_of_the_same_rope_are_no_difference(base, tmp_path):
    old = expert(base, tmp_path / "old", edit("config.json", rope_theta=10000, rope_parameters=None))
    assert differences(merge(recipe_of(base, {"a": old}), tmp_path / "out", progress=False)) == {}
    scaled = {"type": "linear", "factor": 2.0}
    old = expert(base, tmp_path / "old scaled", edit("config.json", rope_scaling=scaled))
    assert "rope_parameters.factor" in refusal(base, {"a": old}, tmp_path / "no")


def test_defaults_of_the_model_class_that_one_leaves_out_are_no_difference(base, tmp_path):
    left_out = {
        "hidden_act": None,
        "rms_norm_eps": None,
        "mlp_bias": None,
        "architectures": None,
        "head_dim": None,
    }
    short = expert(base, tmp_path / "short", edit("config.json", **left_out))
    out = merge(recipe_of(base, {"a": short}), tmp_path / "out", progress=False)
    assert differences(out) == {}
    torch.testing.assert_close(logits(out), logits(short))
    epsilon = expert(base, tmp_path / "epsilon", edit("config.json", rms_norm_eps=1e-5))
    assert "config.rms_norm_eps 1e-05 but the base has 1e-06" in refusal(
        base, {"a": epsilon}, tmp_path / "no"
    )


@pytest.mark.parametrize("written", [None, True])
def test_what_a_model_class_derives_from_a_known_key_is_compared(tmp_path, written):
    """T5 scales its output where `tie_word_embeddings` is not false."""
    base = tiny_t5(tmp_path / "base")
    edit("config.json", scale_decoder_outputs=None, tie_word_embeddings=written)(base)
    other = tmp_path / "other"
    shutil.copytree(base, other)
    edit("config.json", tie_word_embeddings=False)(other)
    assert "config.scale_decoder_outputs false but the base has true" in refusal(
        base, {"a": other}, tmp_path / "no"
    )


def test_all_that_differs_is_named_at_once(base, tmp_path):
    several = edit("config.json", rms_norm_eps=1e-5, eos_token_id=3)
    bad = expert(base, tmp_path / "bad", several)
    said = refusal(base, {"a": bad}, tmp_path)
    assert "accept_differences: [config.rms_norm_eps, config.eos_token_id]" in said or (
        "accept_differences: [config.eos_token_id, config.rms_norm_eps]" in said
    )


@pytest.mark.parametrize(
    "name", ["config.rope_theta", "config.use_cache", "config.nothing", "tokenizer.added_tokens"]
)
def test_what_needs_no_accepting_is_not_accepted(base, tmp_path, name):
    good = expert(base, tmp_path / "good", edit("config.json", use_cache=False))
    assert f"'{name}'" in refusal(base, {"good": good}, tmp_path, name)


def test_a_name_of_no_such_place_is_refused_in_the_recipe(tmp_path):
    file = tmp_path / "recipe.yaml"
    start = "base: a\nexperts: {b: c}\nmethod: {name: average}\n"
    file.write_text(f"{start}accept_differences: [rope_theta]")
    with pytest.raises(InputError, match=r"'accept_differences\.0': a key that begins with `config\.`"):
        load_recipe(file)
    file.write_text(f"{start}accept_differences: [config.rope_theta, tokenizer.added_tokens]")
    assert load_recipe(file).accept_differences == ["config.rope_theta", "tokenizer.added_tokens"]


def test_different_tokens_at_one_id_are_refused_by_both_names(base, tmp_path):
    place = json.loads((base / "config.json").read_text())["vocab_size"] - 5
    one = expert(base, tmp_path / "one", adding(tool=place))
    other = expert(base, tmp_path / "other", adding(think=place))
    said = refusal(base, {"one": one, "other": other}, tmp_path)
    for words in ("'<tool>'", "'<think>'", f"id {place}", "'one'", "'other'", "tokenizer.added_tokens"):
        assert words in said
    out = merge(
        recipe_of(base, {"one": one, "other": other}, "tokenizer.added_tokens"),
        tmp_path / "out",
        progress=False,
    )
    assert differences(out)["tokenizer.added_tokens"]["experts"] == {
        "one": {"<tool>": place}, "other": {"<think>": place}
    }  # fmt: skip
    assert merge(
        recipe_of(base, {"one": one, "twin": expert(base, tmp_path / "twin", adding(tool=place))}),
        tmp_path / "agree",
        progress=False,
    )


def test_a_token_in_the_place_of_another_is_refused_by_both_names(base, tmp_path):
    def rename(folder):
        content = json.loads((folder / "tokenizer.json").read_text())
        vocabulary = content["model"]["vocab"]
        content["model"]["vocab"] = {"renamed" if i == 20 else token: i for token, i in vocabulary.items()}
        (folder / "tokenizer.json").write_text(json.dumps(content))

    content = json.loads((base / "tokenizer.json").read_text())
    (token,) = (token for token, place in content["model"]["vocab"].items() if place == 20)
    said = refusal(base, {"a": expert(base, tmp_path / "a", rename)}, tmp_path)
    assert f"'renamed' at the id 20, where the base has {token!r}" in said


def test_a_token_that_one_expert_adds_is_said_once_a_merge_and_reported(base, tmp_path, caplog):
    place = json.loads((base / "config.json").read_text())["vocab_size"] - 5
    one = expert(base, tmp_path / "one", adding(tool=place))
    with caplog.at_level(logging.INFO, logger="manyshot.merging"):
        for name in ("first", "second"):
            out = merge(recipe_of(base, {"one": one}), tmp_path / name, progress=True)
    said = [
        record.getMessage() for record in caplog.records if "tokenizer.added_tokens" in record.getMessage()
    ]
    assert len(said) == 2
    assert all(str(tmp_path / name) in one for name, one in zip(("first", "second"), said, strict=True))
    assert "<tool>" in said[0]
    assert "'one'" in said[0]
    (notice,) = json.loads((out / "merge.json").read_text())["notices"]
    assert "<tool>" in notice
    assert notice[1:] in (out / "README.md").read_text()
    assert differences(out)["tokenizer.added_tokens"]["verdict"] == "notice"
    assert (out / "tokenizer.json").read_bytes() == (base / "tokenizer.json").read_bytes()


@pytest.mark.parametrize("accepted", [(), ("tokenizer.chat_template",)])
def test_a_chat_template_of_an_expert_is_said_unless_it_is_accepted(base, tmp_path, caplog, accepted):
    def template(folder):
        (folder / "chat_template.jinja").write_text("{{ messages }}!")

    chat = expert(base, tmp_path / "chat", template)
    out = merge(recipe_of(base, {"chat": chat}, *accepted), tmp_path / "out", progress=True)
    assert ("tokenizer.chat_template" in caplog.text) is not bool(accepted)
    found = differences(out)["tokenizer.chat_template"]
    assert found["experts"] == {"chat": "{{ messages }}!"}
    assert found["verdict"] == ("accepted" if accepted else "notice")
    assert differences(merge(recipe_of(chat, {"plain": base}), tmp_path / "kept", progress=False))[
        "tokenizer.chat_template"
    ]["verdict"] == "allowed"  # fmt: skip


@pytest.mark.parametrize(
    "change, key",
    [
        (edit("tokenizer_config.json", tokenizer_class="LlamaTokenizer"), "tokenizer.tokenizer_class"),
        (edit("tokenizer_config.json", eos_token="A"), "tokenizer.eos_token"),
        (edit("tokenizer.json", normalizer={"type": "Lowercase"}), "tokenizer.normalizer.type"),
        (edit("generation_config.json", eos_token_id=[2, 3]), "generation.eos_token_id"),
        (edit("config.json", quantization_config={"quant_method": "fp8"}), "config.quantization_config"),
        (edit("config.json", a_key_of_nobody=1), "config.a_key_of_nobody"),
    ],
)
def test_what_could_count_is_refused_by_its_key(base, tmp_path, change, key):
    assert key in refusal(base, {"a": expert(base, tmp_path / "a", change)}, tmp_path)


@pytest.mark.parametrize(
    "name, content",
    [("tokenizer_config.json", "[]"), ("generation_config.json", "[]"), ("special_tokens_map.json", "3")],
)
def test_a_file_that_holds_no_mapping_is_refused_by_its_name(base, tmp_path, name, content):
    bad = expert(base, tmp_path / "bad", lambda folder: (folder / name).write_text(content))
    said = refusal(base, {"a": bad}, tmp_path)
    assert str(bad / name) in said
    assert "no mapping" in said


def found_in(ours, theirs, tmp_path):
    """What differs by configurations alone, by key."""
    pair = [Checkpoint(tmp_path, config, [], {}) for config in (ours, theirs)]
    return {one.key: one for one in compare_settings(pair[0], {"a": pair[1]})}


def test_keys_that_an_off_switch_leaves_unread_are_known(tmp_path):
    qwen = {"model_type": "qwen2", "use_sliding_window": False, "max_window_layers": 24, "use_mrope": False}
    other = {"model_type": "qwen2", "use_sliding_window": False, "max_window_layers": 21}
    assert found_in(qwen, other, tmp_path).keys() == {"config.max_window_layers", "config.use_mrope"}
    on = {"use_sliding_window": True, "sliding_window": 8}
    for one, two in ((qwen | on, other | on), (qwen | {"use_mrope": True}, other)):
        with pytest.raises(InputError, match=r"max_window_layers|use_mrope"):
            found_in(one, two, tmp_path)


def test_the_longest_text_is_known_where_no_angle_depends_on_it(tmp_path):
    short = {"model_type": "llama", "max_position_embeddings": 64, "rope_parameters": {"rope_theta": 1e4}}
    long = short | {"max_position_embeddings": 128}
    assert found_in(short, long, tmp_path)["config.max_position_embeddings"].verdict == "notice"
    dynamic = {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}}
    with pytest.raises(InputError, match=r"max_position_embeddings"):
        found_in(short | dynamic, long | dynamic, tmp_path)


def test_padding_counts_where_positions_are_counted_from_it(tmp_path):
    for kind in ("llama", "roberta"):
        configs = [{"model_type": kind, "pad_token_id": place} for place in (1, 2)]
        if kind == "llama":
            assert found_in(*configs, tmp_path)["config.pad_token_id"].verdict == "allowed"
        else:
            with pytest.raises(InputError, match=r"config\.pad_token_id"):
                found_in(*configs, tmp_path)


def test_sampling_settings_at_their_old_defaults_are_no_difference(base, tmp_path):
    old = {"diversity_penalty": 0.0, "guidance_scale": 1.0, "num_beam_groups": 1}
    same = Checkpoint(expert(base, tmp_path / "same", edit("generation_config.json", **old)), {}, [], {})
    assert not compare_settings(Checkpoint(base, {}, [], {}), {"a": same})
    guided = edit("generation_config.json", guidance_scale=2.0)
    other = Checkpoint(expert(base, tmp_path / "other", guided), {}, [], {})
    (found,) = compare_settings(Checkpoint(base, {}, [], {}), {"a": other})
    assert (found.key, found.verdict) == ("generation.guidance_scale", "notice")


def other_value(value):
    """A value unlike another, of its type where it has one."""
    kinds = {bool: lambda: not value, int: lambda: value + 1, float: lambda: value + 0.5}
    if isinstance(value, dict):
        return {**value, "added": 1}
    return kinds.get(type(value), lambda: "changed")()


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
@pytest.mark.parametrize("change", [other_value, lambda value: "changed", lambda value: None])
def test_any_key_of_a_configuration_is_refused_or_known_and_reported(tmp_path, kind, change):
    described = AutoConfig.for_model(kind, num_hidden_layers=2, sliding_window=7)
    config = json.loads(json.dumps(described.to_dict()))
    start = Checkpoint(tmp_path, config, [], {})
    keys = [key for key in config if key != "model_type"]  # which `check` refuses before
    assert len(keys) > 25
    refused = set()
    for key in keys:
        changed = {**config, key: change(config[key])}
        name = current_name(f"config.{key}")
        try:
            found = {
                one.key: one for one in compare_settings(start, {"a": Checkpoint(tmp_path, changed, [], {})})
            }
        except InputError as error:
            assert name in str(error)
            assert not allowed(name)
            refused.add(key)
            continue
        assert all(one.why for one in found.values())
        if not any(one == name or one.startswith(f"{name}.") for one in found):
            # Nothing is a key that was left out, whose default it was.
            assert change(config[key]) is None or changed == config
            assert meaning(changed, key) == meaning(config, key)
    if change is other_value:
        assert refused >= {
            "rms_norm_eps",
            "hidden_act",
            "num_attention_heads",
            "rope_parameters",
            "vocab_size",
        }


def meaning(config, key):
    return AutoConfig.for_model(**config).to_dict()[key]


def _with_template(text):
    def change(folder):
        (folder / "chat_template.jinja").unlink(missing_ok=True)
        settings = folder / "tokenizer_config.json"
        content = json.loads(settings.read_text())
        content.pop("chat_template", None)
        if text is not None:
            content["chat_template"] = text
        settings.write_text(json.dumps(content))

    return change


def test_the_recipe_says_whose_chat_template_the_merged_model_has(base, tmp_path, caplog):
    chat = expert(base, tmp_path / "chat", _with_template("{{ messages }}!"))
    plain = expert(base, tmp_path / "plain", _with_template(None))
    file = tmp_path / "own.jinja"
    file.write_text("{{ messages }}?")

    def template(**more):
        out = tmp_path / f"out{len(list(tmp_path.glob('out*')))}"
        experts = {"chat": str(chat), "plain": str(plain)}
        merge(Recipe(base=str(base), experts=experts, method={"name": "average"}, **more), out)
        return chat_template(out), differences(out)["tokenizer.chat_template"]

    assert template()[0] == chat_template(base)
    assert "tokenizer.chat_template" in caplog.text
    caplog.clear()
    taken, difference = template(chat_template="chat")
    assert taken == "{{ messages }}!" and difference["verdict"] == "accepted"
    assert difference["why"] == "the recipe takes that of chat"
    assert template(chat_template=str(file))[0] == "{{ messages }}?"
    assert template(chat_template="alpaca")[0] == CHAT_TEMPLATES["alpaca"]
    assert "tokenizer.chat_template" not in caplog.text
    (tmp_path / "text.jinja").write_text("Hello")
    for name, said in [
        ("{% if messages %} no end", "The `chat_template` of the recipe fails"),
        (str(tmp_path / "text.jinja"), "text.jinja does not write the text of a question"),
        ("plain", "which has no chat template"),
        ("nobody", r"neither an expert \(chat, plain\), nor 'auto', nor a form by name \(alpaca, "),
    ]:
        with pytest.raises(InputError, match=said):
            template(chat_template=name)


def test_all_of_an_experts_templates_come_along(base, tmp_path):
    def several(folder):
        (folder / "chat_template.jinja").write_text("{{ messages }}!")
        (folder / "additional_chat_templates").mkdir()
        (folder / "additional_chat_templates/tool.jinja").write_text("{{ tools }}")

    chat, out = expert(base, tmp_path / "chat", several), tmp_path / "out"
    recipe = {"base": str(base), "experts": {"chat": str(chat)}, "method": {"name": "average"}}
    merge(Recipe(**recipe, chat_template="chat"), out)
    assert chat_template(out) == {"default": "{{ messages }}!", "tool": "{{ tools }}"}
