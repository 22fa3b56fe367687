"""Recipe files: what they may say, and how what they may not say is refused."""

import pytest

from merging.merge import merge
from merging.recipe import size_in_bytes
from merging.recipe_file import load_recipe
from results.errors import InputError

WHOLE = """
base: base
experts:
  a: a
  b: {path: b, weight: 2}
method: {name: task_arithmetic, scaling: 0.3}
output_dtype: bfloat16
max_shard_size: 500MB
seed: 7
"""


def written(folder, text):
    path = folder / "recipe.yaml"
    path.write_text(text)
    return path


def test_a_recipe_is_read_with_its_defaults(tmp_path):
    recipe = load_recipe(written(tmp_path, "base: org/base\nexperts: {a: org/a}\nmethod: {name: average}"))
    assert (recipe.base, recipe.experts["a"].path, recipe.experts["a"].weight) == ("org/base", "org/a", 1.0)
    assert (recipe.method.name, recipe.method.settings) == ("average", {})
    assert (recipe.output_dtype, recipe.max_shard_size, recipe.seed) == (None, 5_000_000_000, 0)


def test_paths_are_taken_from_the_recipes_folder(tmp_path, monkeypatch):
    (tmp_path / "recipes" / "base").mkdir(parents=True)
    recipe = load_recipe(written(tmp_path / "recipes", WHOLE))
    assert recipe.base == str(tmp_path / "recipes" / "base")
    assert recipe.experts["a"].path == "a"
    assert recipe.experts["b"].weight == 2
    assert recipe.method.settings == {"scaling": 0.3}
    assert recipe.max_shard_size == 500_000_000


def test_a_recipe_file_merges(family, tmp_path):
    out = merge(load_recipe(written(tmp_path, WHOLE)), tmp_path / "out", progress=False)
    assert (out / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("seed: 7", "sede: 7"), ["sede"]),
        (("weight: 2", "weight: heavy"), ["experts.b.weight", "number"]),
        (("weight: 2", "weight: .nan"), ["experts.b.weight", "finite"]),
        (("weight: 2", "wieght: 2"), ["experts.b.wieght"]),
        (("  a: a", "  b: a"), ["'b'", "given twice"]),
        (("bfloat16", "int8"), ["output_dtype", "bfloat16"]),
        (("500MB", "much"), ["max_shard_size", "5GB"]),
        (("500MB", "0"), ["max_shard_size", "one byte"]),
        (("500MB", "9" * 400), ["1329 bits"]),
        (("500MB", "9" * 5000), ["YAML"]),
        (("500MB", f"{'9' * 400}TB"), ["max_shard_size", "5GB"]),
        (("seed: 7", f"seed: {10**30}"), ["100 bits"]),
        (("base: base", 'base: "a\\ud800"'), ["surrogate"]),
        (("name: task_arithmetic", 'name: "a\\ud800"'), ["surrogate"]),
        (("  a: a", f"  {'a' * 1000}: a"), ["experts", "at most 200 characters"]),
        (("seed: 7", "seed: -1"), ["seed", "0"]),
        (("name: task_arithmetic, ", ""), ["method.name", "required"]),
        (("base: base", ""), ["base", "required"]),
        (("base: base", "base: [base"), ["not valid YAML"]),
        (("base: base", "base: !!python/object/apply:os.getcwd []"), ["not valid YAML", "python"]),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else "",
)
def test_a_wrong_recipe_is_refused_by_file_and_key(tmp_path, change, says):
    assert change[0] in WHOLE
    path = written(tmp_path, WHOLE.replace(*change))
    with pytest.raises(InputError) as refusal:
        load_recipe(path)
    for words in (str(path), *says):
        assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < len(str(path)) + 300


@pytest.mark.parametrize("change", ["base: base", "{path: b,", "name: task_arithmetic"])
@pytest.mark.parametrize("letter", ["x", "\\0", "+x", ".py:"])
def test_a_name_that_no_file_can_have_is_refused_in_one_short_sentence(tmp_path, monkeypatch, change, letter):
    monkeypatch.chdir(tmp_path)
    key, _, name = change.rpartition(" ")
    comma = "," if name.endswith(",") else ""
    path = written(tmp_path, WHOLE.replace(change, f'{key} "{letter * 10_000}"{comma}'))
    with pytest.raises(InputError) as refusal:
        merge(load_recipe(path), tmp_path / "out", progress=False)
    assert len(str(refusal.value)) < 400
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize(
    ("content", "says"),
    [("", "the file"), ("[" * 5000, "YAML"), ("x" * 2**21, "at most"), ("- 1", "the file")],
    ids=["empty", "deep", "long", "list"],
)
def test_a_file_that_is_no_recipe_is_refused(tmp_path, content, says):
    with pytest.raises(InputError, match=says):
        load_recipe(written(tmp_path, content))


def test_a_recipe_without_experts_or_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="experts"):
        load_recipe(written(tmp_path, "base: b\nexperts: {}\nmethod: {name: average}"))
    with pytest.raises(InputError, match=r"nothing\.yaml cannot be read"):
        load_recipe(tmp_path / "nothing.yaml")


@pytest.mark.parametrize(
    ("size", "expected"),
    [("5GB", 5 * 10**9), ("500 MB", 5 * 10**8), ("1.5kb", 1500), ("2GiB", 2**31), (1000, 1000), ("7", 7)],
)
def test_sizes_are_decimal_unless_they_say_binary(size, expected):
    assert size_in_bytes(size) == expected
