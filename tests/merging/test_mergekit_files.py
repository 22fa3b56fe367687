"""Files of mergekit are read with mergekit's meaning: settings, models, tokenizer, chat template."""

import importlib.resources
import json
import shutil

import pytest
import torch
import yaml
from mergekit_files import FILES, LOOKED_AT, make_models, recipe_of_file
from safetensors.torch import load_file
from transformers.utils.chat_template_utils import render_jinja_template

from merging.chat_templates import CHAT_TEMPLATES
from merging.merge import merge
from merging.prepare import prepare
from merging.recipe_file import load_recipe
from results.errors import InputError


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    make_models(folder)
    return folder


GIVEN = "{% for message in messages %}{{ message.content }}{% endfor %}"


def read(folder, tmp_path, **changes):
    content = {
        "merge_method": "task_arithmetic",
        "base_model": str(folder / "base"),
        "models": [{"model": str(folder / name), "parameters": {"weight": 0.5}} for name in "ab"],
    }
    path = tmp_path / "mergekit.yaml"
    path.write_text(
        yaml.safe_dump({key: value for key, value in (content | changes).items() if value is not ...})
    )
    return load_recipe(path)


@pytest.mark.parametrize("name", FILES)
def test_every_form_becomes_a_recipe_that_is_a_recipe_again(models, tmp_path, name):
    recipe = recipe_of_file(FILES[name](models), tmp_path)
    assert recipe.output_dtype == "bfloat16"


THEIRS = {
    "linear_unnormalised": [
        [-0.3046875, 0.166015625, 0.3984375, -0.77734375],
        [-1.7265625, 1.0078125, -0.458984375, 0.10498046875],
        [1.75, 1.75, 1.5703125, 1.65625],
    ],
    "linear_with_base": [
        [-0.14453125, 0.1357421875, 0.2470703125, -0.447265625],
        [-0.984375, 0.5546875, -0.2177734375, 0.021728515625],
        [1.0, 1.0, 0.953125, 0.9765625],
    ],
    "linear_gradient": [
        [-0.15625, 0.291015625, 0.34375, -0.50390625],
        [-0.9609375, 0.546875, -0.2421875, 0.06787109375],
        [0.9609375, 1.1171875, 0.875, 0.875],
    ],
    "task_arithmetic_filters": [
        [-0.1767578125, 0.1435546875, 0.2353515625, -0.458984375],
        [-0.96875, 0.55859375, -0.255859375, 0.07421875],
        [1.0, 1.015625, 0.890625, 0.9140625],
    ],
    "ties": [
        [-0.19140625, -0.00933837890625, 0.1591796875, -0.42578125],
        [-0.984375, 0.625, -0.345703125, 0.1171875],
        [1.0390625, 1.1171875, 0.89453125, 0.92578125],
    ],
    "ties_sum": [
        [-0.1767578125, 0.0164794921875, 0.1806640625, -0.44921875],
        [-0.984375, 0.609375, -0.3125, 0.09130859375],
        [0.984375, 1.0703125, 0.85546875, 0.94921875],
    ],
    "slerp": [
        [-0.19140625, 0.040771484375, 0.1591796875, -0.42578125],
        [-1.0078125, 0.58984375, -0.275390625, 0.0615234375],
        [1.0234375, 0.95703125, 0.95703125, 0.9765625],
    ],
    "slerp_before_base": [
        [-0.12451171875, 0.10888671875, 0.267578125, -0.4375],
        [-0.99609375, 0.5390625, -0.1650390625, -0.036865234375],
        [0.98046875, 1.03125, 0.97265625, 1.0234375],
    ],
    "multislerp_no_base": [
        [-0.30859375, 0.1669921875, 0.40234375, -0.78515625],
        [-1.7421875, 1.0234375, -0.46484375, 0.10693359375],
        [1.75, 1.7578125, 1.5703125, 1.6640625],
    ],
    "nuslerp_rows": [
        [-0.185546875, 0.09765625, 0.2021484375, -0.4453125],
        [-0.99609375, 0.59765625, -0.306640625, 0.0986328125],
        [1.0234375, 0.9609375, 0.90234375, 0.9375],
    ],
    "passthrough": [
        [-0.19140625, 0.040771484375, 0.1591796875, -0.42578125],
        [-1.0078125, 0.625, -0.345703125, 0.1171875],
        [1.0390625, 0.9140625, 0.91015625, 0.953125],
    ],
    "breadcrumbs_ties": [
        [-0.19140625, 0.040771484375, 0.1591796875, -0.4765625],
        [-0.95703125, 0.625, -0.1640625, 0.138671875],
        [0.9609375, 1.0859375, 0.8203125, 0.890625],
    ],
    "sce": [
        [-0.1181640625, -0.017333984375, 0.265625, -0.44921875],
        [-0.984375, 0.53515625, -0.345703125, 0.07568359375],
        [1.0, 1.125, 1.0, 1.0],
    ],
    "ramplus_tl": [
        [-0.1953125, 0.08349609375, 0.251953125, -0.451171875],
        [-0.921875, 0.6328125, -0.2314453125, 0.0028839111328125],
        [0.91796875, 1.0546875, 0.890625, 0.97265625],
    ],
    "slices_passthrough": [
        [-0.19140625, 0.040771484375, 0.1591796875, -0.42578125],
        [-1.0078125, 0.625, -0.345703125, 0.1171875],
        [0.9609375, 1.1171875, 0.875, 0.875],
    ],
    "slices_slerp": [
        [-0.13671875, 0.1396484375, 0.2392578125, -0.443359375],
        [-1.0078125, 0.59765625, -0.291015625, 0.07421875],
        [1.0078125, 0.98046875, 0.9765625, 0.98828125],
    ],
    "slices_ties": [
        [-0.19140625, 0.291015625, 0.34375, -0.50390625],
        [-1.0, -0.01397705078125, -0.037841796875, -0.2392578125],
        [1.0390625, 1.125, 0.8984375, 0.953125],
    ],
}
"""The first four entries of `LOOKED_AT`, as mergekit 0.1.5 wrote them in bfloat16 from these models and
files, by `tests/perf/compare_mergekit.py MERGEKIT_YAML --values`; all other entries agreed as these do."""


@pytest.mark.parametrize("name", THEIRS)
def test_the_merge_is_mergekits_to_a_step_of_bfloat16(models, tmp_path, name):
    path = tmp_path / "mergekit.yaml"
    path.write_text(yaml.safe_dump(FILES[name](models)))
    found = load_file(merge(load_recipe(path), tmp_path / "out", progress=False) / "model.safetensors")
    for tensor, expected in zip(LOOKED_AT, THEIRS[name], strict=True):
        torch.testing.assert_close(
            found[tensor].flatten()[:4].float(), torch.tensor(expected), rtol=2**-7, atol=1e-6
        )


def test_the_models_settings_come_before_the_documents_and_a_filter_leads_to_them(models, tmp_path):
    one = {"weight": [{"filter": "mlp", "value": 0.1}], "density": 0.3}
    recipe = read(
        models,
        tmp_path,
        merge_method="ties",
        models=[{"model": str(models / "a"), "parameters": one}, {"model": str(models / "b")}],
        parameters={
            "weight": [{"filter": "norm", "value": [1, 2]}, {"filter": "*", "value": 0.4}],
            "density": 0.5,
        },
    )
    assert recipe.experts["a"].weight == [
        {"filter": "mlp", "value": 0.1},
        {"filter": "norm", "value": [1, 2]},
        {"value": 0.4},
    ]
    assert recipe.experts["b"].weight[0] == {"filter": "norm", "value": [1, 2]}
    assert recipe.method.settings == {
        "variant": "mergekit",
        "density": {"a": 0.3, "b": 0.5},
        "scaling": 1.0,
        "aggregate": "mean",
    }


def test_the_base_is_merged_where_mergekit_merges_it(models, tmp_path):
    weights = {"parameters": {"weight": 1.0}}
    linear = read(models, tmp_path, merge_method="linear", parameters={"weight": 1.0})
    karcher = read(models, tmp_path, merge_method="karcher")
    for recipe in (linear, karcher):
        assert {expert.path for expert in recipe.experts.values()} == {
            str(models / name) for name in ("a", "b", "base")
        }
    listed = [{"model": str(models / name), **weights} for name in ("a", "base")]
    assert set(read(models, tmp_path, models=listed).experts) == {"a"}
    alone = read(models, tmp_path, merge_method="linear", base_model=...)
    assert alone.base == str(models / "a") and set(alone.experts) == {"a", "b"}


def test_slerp_goes_from_the_base_whatever_the_names(models, tmp_path):
    def merged(other, t):
        recipe = read(
            models,
            tmp_path,
            merge_method="slerp",
            models=[{"model": str(models / other)}],
            parameters={"t": t},
        )
        return load_file(merge(recipe, tmp_path / f"{other} {t}", progress=False) / "model.safetensors")

    base = load_file(models / "base/model.safetensors")
    for other in "ac":  # one before and one behind "base"
        own = load_file(models / other / "model.safetensors")
        for name, tensor in merged(other, [0, 1]).items():
            if "layers.3" in name:
                torch.testing.assert_close(tensor, own[name])
            elif "layers" not in name or "layers.0" in name:
                torch.testing.assert_close(tensor, base[name])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"merge_method": "teis"}, ["'teis'", "ties", "dare_linear"]),
        ({"merge_methods": "ties"}, ["merge_methods", "unknown", "merge_method", "modules"]),
        ({"tokenizer": {"toknes": {}}}, ["'tokenizer.toknes'", "known are source, tokens, pad_to"]),
        ({"modules": {}}, ["modules", "models"]),
        ({"modules": {"vision_tower": {}}, "models": ...}, ["modules", "'default'"]),
        ({"modules": {"default": {"model": "a"}}, "models": ...}, ["modules.default", "'slices'"]),
        ({"modules": {"default": {"models": [{"model": "a"}]}}}, ["one of", "'modules'"]),
        ({"parameters": {"wieght": 1}}, ["'wieght'", "weight, density"]),
        ({"models": [{"model": "a", "parameters": {"wieght": 1}}]}, ["'wieght'", "weight, density"]),
        ({"parameters": {"lambda": "heavy"}}, ["'lambda'", "'heavy'", "number"]),
        ({"models": [{"model": "a"}]}, ["'a'", "'weight'", "required"]),
        ({"models": [{"model": "a"}, {"model": "a"}]}, ["'a'", "twice"]),
        ({"models": [{"model": {"model": {"path": "a", "revision": "x"}}}]}, ["revision"]),
        ({"base_model": ...}, ["base_model"]),
        ({"merge_method": "slerp", "parameters": {"t": 0.5}}, ["2 models", "3 are"]),
        ({"merge_method": "slerp", "models": [{"model": "a"}]}, ["'t'", "required"]),
        ({"models": ...}, ["models", "slices"]),
        ({"dtype": "int8"}, ["dtype", "bfloat16"]),
        ({"tokenizer_source": 5}, ["'base', 'union' or a model"]),
        ({"tokenizer": {"source": "base", "tokens": {"x": {}}}}, ["tokenizer.tokens"]),
        ({"tokenizer_source": "base", "tokenizer": {"source": "base"}}, ["either"]),
        ({"chat_template": "chatmal"}, ["chat_template", "auto", "chatml"]),
        ({"parameters": {"rescale": True}}, ["rescale"]),
        ({"parameters": {"normalize": [True, False]}}, ["normalize", "all tensors"]),
        ({"parameters": {"lambda": [{"fliter": "a", "value": 1}]}}, ["lambda", "filter"]),
    ],
    ids=str,
)
def test_what_is_not_supported_is_refused_by_name(models, tmp_path, changes, says):
    with pytest.raises(InputError) as refusal:
        read(models, tmp_path, **changes)
    assert all(words in str(refusal.value) for words in ("mergekit.yaml", *says)), str(refusal.value)


@pytest.mark.parametrize(
    ("method", "parameter", "sentence"),
    [
        ("linear", {"weight": float("nan")}, "'weight' is nan, where a finite number is expected"),
        ("linear", {"weight": [1, True]}, "'weight' is True, where a finite number is expected"),
        ("ties", {"normalize": "no"}, "'normalize' is 'no', where true or false is expected"),
        ("dare_ties", {"density": 0}, "'density' is 0, where a number above 0 and up to 1 is expected"),
        ("della", {"density": [0.5, 2]}, "'density' is 2, where a number above 0 and up to 1 is expected"),
        ("breadcrumbs", {"gamma": 1}, "'gamma' is 1, where a number from 0 on and below 1 is expected"),
        ("della", {"epsilon": 0.5}, "'epsilon' is 0.5, where a number from 0 on and below 0.5 is expected"),
        (
            "della",
            {"density": 0.1},
            "'epsilon' is 0.15 (0.15 where none is given), where a number below 'density'",
        ),
        ("karcher", {"max_iter": 1.5}, "'max_iter' is 1.5, where a whole number from 1 on is expected"),
        ("nearswap", {"t": 0}, "'t' is 0, where a number above 0 is expected"),
        ("ramplus_tl", {"r": -1}, "'r' is -1, where a number from 0 on is expected"),
    ],
)
def test_a_number_that_a_parameter_cannot_be_is_refused_under_its_name(
    models, tmp_path, method, parameter, sentence
):
    model = {"model": "a", "parameters": {"weight": 1.0, **parameter}}
    with pytest.raises(InputError) as refusal:
        read(models, tmp_path, merge_method=method, models=[model], parameters=parameter)
    assert sentence in str(refusal.value) and str(tmp_path / "mergekit.yaml") in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (
            {"base_model": "a", "gate_mode": "hidden", "experts": [{"source_model": "b"}]},
            "is a file of mergekit-moe",
        ),
        ({"genome": {"models": ["a"], "merge_method": "ties"}, "tasks": []}, "is a file of mergekit-evolve"),
        (
            {"base_model": "a", "models": [{"model": "b"}]},
            "has no 'merge_method', by which a file of mergekit",
        ),
        ({"models": [{"model": "b"}]}, "has no 'merge_method'"),
    ],
)
def test_files_of_mergekit_that_are_no_merges_are_told_apart(tmp_path, content, says):
    path = tmp_path / "other.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(InputError, match=f"other.yaml {says}"):
        load_recipe(path)


def test_the_only_module_of_a_language_model_is_the_document(models, tmp_path):
    merged = [{"model": str(models / name), "parameters": {"weight": 0.5}} for name in "ab"]
    lists = [{"filter": "mlp", "value": 0.5}]
    inside = {"models": merged, "parameters": {"lambda": lists}}
    recipe = read(
        models,
        tmp_path,
        models=...,
        modules={"default": inside},
        parameters={"lambda": 0.25, "normalize": False},
    )
    # The module's filter before the document's value.
    outside = {"lambda": [*lists, {"value": 0.25}], "normalize": False}
    assert recipe == read(models, tmp_path, models=merged, parameters=outside)


@pytest.mark.parametrize("name", CHAT_TEMPLATES)
@pytest.mark.parametrize("system", [[], [{"role": "system", "content": "Be brief."}]], ids=["", "system"])
def test_named_templates_are_those_of_mergekit(models, tmp_path, name, system):
    theirs = importlib.resources.files("mergekit._data.chat_templates").joinpath(f"{name}.jinja").read_text()
    ours = read(models, tmp_path, chat_template=name).chat_template
    if name == "exaone":  # the lines of its file are one, as in the released models
        theirs = "".join(line.strip() for line in theirs.splitlines())
    turns = [("user", " Hello {{there}} "), ("assistant", "Hi."), ("user", "Why?")]
    messages = [*system, *({"role": role, "content": content} for role, content in turns)]
    for asked, tokens in ((messages, {"add_generation_prompt": True}), (messages[:-1], {})):
        tokens |= {"bos_token": "<s>", "eos_token": "</s>"}
        both = [render_jinja_template([asked], chat_template=one, **tokens)[0][0] for one in (ours, theirs)]
        expected = both[1].replace("<|eot_id|>\n", "<|eot_id|>")
        assert both[0] == expected.replace("Why?### Response:", "Why?\n\n### Response:")
    assert "Be brief." in both[0] or not system


def test_what_is_passed_over_is_said(models, tmp_path):
    recipe = read(models, tmp_path, parameters={"int8_mask": True, "density": 0.5, "t": 0.5})
    assert any("`t`" in notice for notice in recipe.notices)
    assert any("`int8_mask`" in notice for notice in recipe.notices)
    out = merge(recipe, tmp_path / "out", progress=False)
    assert set(recipe.notices) <= set(json.loads((out / "merge.json").read_text())["notices"])


def test_the_seed_is_taken_and_by_chance_is_said(models, tmp_path):
    recipe = read(models, tmp_path, merge_method="dare_ties", random_seed=7, parameters={"density": 0.75})
    assert (recipe.seed, recipe.method.settings["drop_rate"], recipe.method.settings["aggregate"]) == (
        7,
        0.25,
        "sum",
    )
    assert any("L1" in notice for notice in recipe.notices)


def test_weights_are_divided_by_their_sum_where_mergekit_divides_them(models, tmp_path):
    density = {"density": 1.0, "normalize": True}
    found = merge(
        read(models, tmp_path, merge_method="dare_linear", parameters=density),
        tmp_path / "out",
        progress=False,
    )
    merged = load_file(found / "model.safetensors")
    a, b = (load_file(models / name / "model.safetensors") for name in "ab")
    for name, tensor in merged.items():
        torch.testing.assert_close(tensor, (a[name] + b[name]) / 2)


def test_the_tokenizer_is_the_bases_the_union_or_a_models(models, tmp_path):
    assert read(models, tmp_path).tokenizer == "base"
    assert read(models, tmp_path, tokenizer_source="union").tokenizer == "union"
    recipe = read(models, tmp_path, tokenizer={"source": "union", "pad_to_multiple_of": 64})
    assert (recipe.tokenizer, recipe.pad_to_multiple_of) == ("union", 64)
    named = read(models, tmp_path, tokenizer_source=str(models / "b"))
    assert named.experts[named.tokenizer].path == str(models / "b")
    other = read(models, tmp_path, tokenizer_source=str(tmp_path / "elsewhere"))
    assert other.tokenizer == str(tmp_path / "elsewhere")


def test_a_folder_called_as_the_base_is_in_recipes_is_an_expert_of_another_name(models, tmp_path):
    places = [str(models / name) for name in ("a", "base")]
    recipe = read(
        models,
        tmp_path,
        merge_method="linear",
        base_model=...,
        models=[{"model": place, "parameters": {"weight": 0.5}} for place in places],
        tokenizer={"source": places[1], "tokens": {"A": {"source": places[1]}, "B": {"source": places[0]}}},
    )
    assert recipe.base == places[0]
    assert recipe.experts[recipe.tokenizer].path == places[1]
    assert recipe.experts[recipe.tokens["A"].source].path == places[1]
    assert recipe.experts[recipe.tokens["B"].source].path == places[0]


def test_the_chat_template_is_the_one_that_is_given(models, tmp_path):
    recipe = read(models, tmp_path, chat_template=GIVEN)
    out = merge(recipe, tmp_path / "out", progress=False)
    assert (out / "chat_template.jinja").read_text() == GIVEN


def test_the_commonest_template_is_that_of_most_models_each_counted_once(models, tmp_path):
    def with_template(name, text):
        folder = shutil.copytree(models / "a", tmp_path / name)
        (folder / "chat_template.jinja").write_text(text)
        return str(folder)

    def found(**changes):
        return prepare(read(models, tmp_path, chat_template="auto", **changes)).chat_template

    def listed(*folders):
        return [{"model": folder, "parameters": {"weight": 1}} for folder in folders]

    assert found() is None  # nobody has one
    x, y, z = (
        with_template(name, text) for name, text in (("x", GIVEN), ("y", GIVEN + "\n"), ("z", "{{ 1 }}"))
    )
    assert found(models=listed(x, y, z)) == GIVEN
    assert found(models=listed(x, z), base_model=z) == "{{ 1 }}"  # the base's before others' as common
    sources = [{"model": one, "layer_range": [0, 2]} for one in (z, x, y)]
    slices = [{"sources": [{**source, "parameters": {"weight": 1}}]} for source in sources]
    stacked = {"models": ..., "slices": slices, "merge_method": "linear", "base_model": ...}
    assert found(**stacked) == GIVEN
    ours = tmp_path / "ours.yaml"
    experts = {"one": x, "two": z, "three": y}
    content = {"base": z, "experts": experts, "method": {"name": "average"}, "chat_template": "auto"}
    ours.write_text(yaml.safe_dump(content))
    out = merge(load_recipe(ours), tmp_path / "merged", progress=False)
    assert (out / "chat_template.jinja").read_text() == GIVEN


def test_multislerp_of_one_model_is_that_model_whatever_its_weight(models, tmp_path):
    recipe = read(
        models,
        tmp_path,
        merge_method="multislerp",
        models=[{"model": str(models / "a"), "parameters": {"weight": 0.5}}],
        parameters={"normalize_weights": False},
    )
    found = load_file(merge(recipe, tmp_path / "out", progress=False) / "model.safetensors")
    for name, tensor in load_file(models / "a/model.safetensors").items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-5, atol=1e-6)
