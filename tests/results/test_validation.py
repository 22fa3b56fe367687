"""What a user writes wrong is said in one sentence, whatever it is."""

from typing import Annotated

import pytest
from pydantic import BeforeValidator, Field, ValidationError

from results.errors import InputError
from results.reading import read_yaml
from results.validation import Settings, Several, quoted, validated


class _Made(Settings):
    steps: int = Field(8, gt=0)
    """Steps of something."""
    rate: float = Field(0.1, ge=0, le=1)
    names: Several[str] = ("a",)
    inner: "_Made | None" = None


def test_a_docstring_describes_its_field():
    assert _Made.model_fields["steps"].description == "Steps of something."


def test_a_list_of_a_file_is_a_tuple():
    assert validated(_Made, {"names": ["b", "c"]}, "f").names == ("b", "c")


@pytest.mark.parametrize(
    "content, sentence",
    [
        ({"steps": 0}, "f: 'steps' is 0, where a number above 0 is expected."),
        ({"steps": 1.5}, "f: 'steps' is 1.5, where a whole number is expected."),
        ({"steps": "8"}, "f: 'steps' is '8', where a whole number is expected."),
        ({"steps": True}, "f: 'steps' is True, where a whole number is expected."),
        ({"rate": 2}, "f: 'rate' is 2, where a number up to 1 is expected."),
        ({"names": ["b", 1]}, "f: 'names.1' is 1, where text is expected."),
        ({"inner": {"steps": -1}}, "f: 'inner.steps' is -1, where a number above 0 is expected."),
        ({"stepps": 1}, "f: the key 'stepps' is unknown; known are steps, rate, names, inner."),
        ({"inner": {"stp": 1}}, "f: the key 'inner.stp' is unknown; known are steps, rate, names, inner."),
        ([], "f: the file must be a mapping of keys to values, as in {name: value}, not []."),
        ({"\0": 1}, r"f: the key '\x00' is unknown; known are steps, rate, names, inner."),
    ],
)
def test_one_sentence_names_the_key_and_what_is_expected(content, sentence):
    with pytest.raises(InputError) as error:
        validated(_Made, content, "f")
    assert str(error.value) == sentence


def test_values_in_errors_are_short_and_printable():
    assert quoted("x" * 10_000) == "'" + "x" * 59 + "…"
    assert quoted("\0\ud800") == r"'\x00\ud800'"
    assert quoted(10**5000) == "a whole number of 16610 bits"
    assert quoted([10**5000]) == "a list with a huge number"


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("seed: " + "9" * 5000, "not valid YAML"),
        ("seed: 99999999999999999999", "a whole number has 67 bits; 64 are read at most"),
        (r'name: "a\ud800"', "half of a surrogate pair"),
    ],
)
def test_yaml_that_no_record_could_hold(tmp_path, text, sentence):
    (tmp_path / "x.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=sentence):
        read_yaml(tmp_path / "x.yaml")


def test_an_emoji_as_json_escapes_it(tmp_path):
    (tmp_path / "x.yaml").write_text(r'name: "\ud83d\ude00"', encoding="utf-8")
    assert read_yaml(tmp_path / "x.yaml") == {"name": "😀"}


_Share = Annotated[float, Field(gt=0, le=1)]


def _not_none(value):
    if value == []:
        raise ValueError("a list of something is expected, not []")
    return value


class _OneOrSeveral(Settings):
    rates: float | Several[float] = 1.0
    shares: _Share | dict[str, _Share] = 1.0
    names: list[str] = Field(["a"], min_length=1)
    pair: Several[int] = Field((0, 1), min_length=2, max_length=2)
    by_name: dict[str, int] = Field({"a": 1}, min_length=1)
    made: list[_Made] | str = ""
    checked: Annotated[list, BeforeValidator(_not_none)] = ["a"]


@pytest.mark.parametrize(
    "content, sentence",
    [
        ({"rates": "hot"}, "f: 'rates' is 'hot', where a number or a list is expected."),
        ({"rates": [1, "hot"]}, "f: 'rates.1' is 'hot', where a number is expected."),
        ({"rates": float("nan")}, "f: 'rates' is nan, where a finite number or a list is expected."),
        ({"shares": 2}, "f: 'shares' is 2, where a number up to 1 is expected."),
        ({"shares": {"a": 0}}, "f: 'shares.a' is 0, where a number above 0 is expected."),
        ({"shares": "all"}, "f: 'shares' is 'all', where a number or a mapping is expected."),
        ({"names": []}, "f: 'names' is [], where a list that is not empty is expected."),
        ({"by_name": {}}, "f: 'by_name' is {}, where a mapping that is not empty is expected."),
        ({"pair": [1]}, "f: 'pair' is [1], where a list of at least 2 is expected."),
        ({"pair": [1, 2, 3]}, "f: 'pair' is [1, 2, 3], where a list of at most 2 is expected."),
        ({"made": [{"x": 1}]}, "f: the key 'made.0.x' is unknown; known are steps, rate, names, inner."),
        ({"checked": []}, "f: 'checked': a list of something is expected, not []."),
    ],
)
def test_of_several_kinds_all_are_expected(content, sentence):
    with pytest.raises(InputError) as error:
        validated(_OneOrSeveral, content, "f")
    assert str(error.value) == sentence


def test_a_copy_with_changes_is_validated():
    assert _Made().but(steps=9).steps == 9
    with pytest.raises(ValidationError):
        _Made().but(steps=0)
