"""What is read from files that others may have written: its types, and how deep it may be nested."""

import json

import pytest

from results.json_types import DEEPEST, INTEGER, NUMBER, TEXT, checked, mapping, one_of, parsed

TYPES = {"name": TEXT, "n": INTEGER, "value": NUMBER.or_null}


def test_an_object_with_the_fields_is_taken_as_it_is():
    value = {"name": "a", "n": 1, "value": None}
    assert checked(value, TYPES) is value
    assert checked({"name": "a", "n": 1}, TYPES, optional=["value"]) == {"name": "a", "n": 1}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([], r"^\[\] stands where an object is expected$"),
        ({"n": 1, "value": 1}, "^name is missing$"),
        ({"name": "a", "n": "20", "value": 1}, "^n is '20', where a whole number is expected$"),
        ({"name": "a", "n": True, "value": 1}, "^n is True, where a whole number"),
        ({"name": "a", "n": 10**30, "value": 1}, "^n is 10*, where a whole number"),
        ({"name": "a", "n": 1, "value": float("nan")}, "^value is nan, where a number or null"),
        ({"name": "a", "n": 1, "value": 1, "more": 1}, "^'more' is unknown$"),
    ],
)
def test_the_first_field_that_is_wrong_is_named(value, said):
    with pytest.raises(ValueError, match=said):
        checked(value, TYPES)


def test_values_of_objects_and_choices_are_checked():
    assert mapping(INTEGER).fits({"a": 1}) and not mapping(INTEGER).fits({"a": 1.5})
    assert one_of("base", "expert").fits("base") and not one_of("base").fits(["base"])


@pytest.mark.parametrize("depth", [DEEPEST + 1, 100_000])
@pytest.mark.parametrize("brackets", [("[", "]"), ('{"a":', "}")])
def test_what_is_nested_too_deep_is_refused(depth, brackets):
    opened, closed = brackets
    with pytest.raises(ValueError, match="nested too deep"):
        parsed((opened * depth + "1" + closed * depth).encode())


def test_what_has_many_brackets_side_by_side_is_not_deep():
    value = [{"a": [1]}] * DEEPEST
    assert parsed(json.dumps(value).encode()) == value


def test_half_a_character_is_refused_and_a_whole_one_is_not():
    assert parsed(b'"\\ud83d\\ude00"') == "😀"
    with pytest.raises(ValueError):
        parsed(b'"\\ud83d"')
