"""Methods from a user's own file: merged by, described by their whole file, refused in one sentence."""

import json

import pytest
import torch
import yaml
from safetensors.torch import load_file

from merging.known_methods import find_method, make_method
from merging.merge import merge
from merging.method_file import _module, source_of
from merging.provenance import described
from merging.recipe_file import load_recipe
from results.errors import InputError

HALF = '''"""Half of the first task vector."""

from merging.method import Method, Scope

SHARE = {share}


class Half(Method):
    """θ = θ₀ + c τ_1."""

    scope = Scope.ELEMENT
    more: float = 0.0

    def __call__(self, deltas, weights, context):
        return (SHARE + self.more) * deltas[0]


class Other:
    pass
'''


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(HALF.format(share=0.5))
    return path


def test_a_recipe_names_a_file_beside_it(file, family, tmp_path):
    base, experts = family
    recipe = {
        "base": str(base),
        "experts": {name: str(path) for name, path in experts.items()},
        "method": {"name": "mine.py:Half", "more": 0.25},
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    out = merge(load_recipe(tmp_path / "recipe.yaml"), tmp_path / "out", progress=False)
    start, one, merged = (load_file(folder / "model.safetensors") for folder in (base, experts["a"], out))
    name = next(name for name, tensor in start.items() if tensor.is_floating_point())
    torch.testing.assert_close(merged[name], start[name] + 0.75 * (one[name] - start[name]))
    report = json.loads((out / "merge.json").read_text())
    assert report["recipe"]["method"] == {"name": f"{file}:Half", "more": 0.25}


def test_what_describes_it_is_the_whole_file_as_it_was_run(file):
    name = f"{file}:Half"
    before = described(make_method(name, {}))
    assert source_of(find_method(name).method_class) == HALF.format(share=0.5)
    file.write_text(HALF.format(share=0.4))
    assert described(make_method(name, {})) == before  # a process keeps what it has read
    _module.cache_clear()
    assert described(make_method(name, {})) != before
    assert make_method(name, {})(torch.ones(2, 3), torch.ones(2), None).tolist() == [pytest.approx(0.4)] * 3


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        (HALF.format(share=1), "Nothing", "has no class 'Nothing'; it has Half, Other"),
        (HALF.format(share=1), "Other", "is not a subclass of merging.Method"),
        ("import nothing_of_this_name", "Half", "mine.py, line 1: ModuleNotFoundError: No module named"),
        ("a = 1\nb = a / 0", "Half", "mine.py, line 2: ZeroDivisionError: division by zero"),
        ("def f(:", "Half", "mine.py, line 1: SyntaxError"),
        (HALF.format(share=1).replace("    scope = Scope.ELEMENT\n", ""), "Half", "must declare the scope"),
        (
            HALF.format(share=1).replace(
                "class Half", "from dataclasses import dataclass\n@dataclass\nclass Half"
            ),
            "Half",
            "leave @dataclass out",
        ),
        (HALF.format(share=1).replace("__call__", "call"), "Half", "does not define __call__"),
        (HALF.format(share=1).replace("more: float", "more: 'Nothing'"), "Half", "type is not known"),
        ("import sys\nsys.exit(3)", "Half", "mine.py, line 2: SystemExit"),
    ],
)
def test_a_file_that_is_no_method_is_refused_in_one_sentence(file, content, kind, said):
    file.write_text(content)
    with pytest.raises(InputError, match=said) as caught:
        make_method(f"{file}:{kind}", {})
    assert "\n" not in str(caught.value)


def test_a_setting_that_it_has_not_is_refused(file):
    with pytest.raises(InputError, match=r"Half': the key 'less' is unknown; known are more"):
        make_method(f"{file}:Half", {"less": 1})
    with pytest.raises(InputError, match=r"nowhere.py cannot be read \(No such file"):
        make_method("nowhere.py:Half", {})


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ("deltas", "it returned (3, "),
        ("deltas.mean()", "it returned ()"),
        ("None", "it returned NoneType"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
    ],
)
def test_what_a_method_returns_is_checked(  # noqa: PLR0917
    file, family, recipe_for, tmp_path, returned, said
):
    base, experts = family
    file.write_text(HALF.format(share=1).replace("(SHARE + self.more) * deltas[0]", returned))
    with pytest.raises(InputError) as caught:
        merge(recipe_for(base, experts, f"{file}:Half"), tmp_path / "out", progress=False)
    assert said in str(caught.value) and not (tmp_path / "out").exists()


def test_coefficients_that_are_written_for_torch_are_named(file, save, recipe_for, tmp_path):
    file.write_text('''"""A half of each."""

from merging.linear import Linear


class Half(Linear):
    """Half of the sum."""

    def coefficients(self, weights):
        return weights.clamp(max=0.5)
''')
    base = save("bfloat16", {"a": torch.ones(4, dtype=torch.bfloat16)})
    expert = save("expert of it", {"a": torch.zeros(4, dtype=torch.bfloat16)})
    with pytest.raises(InputError, match=r"Half', tensor 'a': AttributeError: .*clamp"):
        merge(recipe_for(base, {"b": expert}, f"{file}:Half"), tmp_path / "out", progress=False)
