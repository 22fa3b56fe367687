"""Everything that a user writes is validated here: pydantic models, and one sentence for what is wrong.

A setting is declared once, as a field of a `Settings` class with its type, range, default and docstring:

    class EngineSettings(Settings):
        max_length: int | None = Field(None, ge=8)
        \"\"\"Longest sequence in tokens; by default the checkpoint's.\"\"\"

The same field is then a key of YAML files, an argument in Python, a command-line flag and a line of the help.
"""

import reprlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Strict, ValidationError
from pydantic_core import ErrorDetails

from results.errors import InputError

_LONGEST_QUOTE = 60
_MAPPING_TYPES = {"dict_type", "model_type", "model_attributes_type"}
"""Pydantic's error types where a mapping is missed."""
_RANGES = {
    "greater_than": "a number above {gt}",
    "greater_than_equal": "a number from {ge} on",
    "less_than": "a number below {lt}",
    "less_than_equal": "a number up to {le}",
    "string_too_long": "a text of at most {max_length} characters",
}
"""Pydantic's error types where a value is of the right kind, and what is expected."""
_LONGEST_NAME = 500
_LARGEST_INTEGER = 2**63
_SHORT = reprlib.Repr()  # of nested values a part: YAML's aliases may make them endless
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 3, 2 * _LONGEST_QUOTE, 2 * _LONGEST_QUOTE


class Settings(BaseModel):
    """Base of all that a user sets: unknown keys and values of another type are refused, none changes."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    def but(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, which is validated as a whole."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self).model_validate({**fields, **changes})


_Item = TypeVar("_Item")
Several = Annotated[tuple[_Item, ...], Strict(False)]
"""A tuple that a file gives as a list."""


def _as_list(value: object) -> object:
    return list(value) if isinstance(value, tuple) else [value] if isinstance(value, str) else value


OneOrMore = Annotated[list[_Item], BeforeValidator(_as_list)]
"""A list in whose place one text may stand."""

_Model = TypeVar("_Model", bound=BaseModel)


def validated(model: type[_Model], content: object, source: str, advice: str = "") -> _Model:
    """Return content as a model.

    Args:
        model: what it should be.
        content: as read.
        source: what an error calls it, such as the file's path.
        advice: what to do about what is wrong, for the message.

    Raises:
        InputError: names the source and the first key that is wrong.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        sentence = sentence_of(error, model, content)
    except InputError as error:  # of a model that says itself what is wrong
        sentence = str(error).rstrip(".")
    raise InputError(f"{source}: {sentence}{f'; {advice}' if advice else ''}.")


def sentence_of(error: ValidationError, model: type[BaseModel] | None = None, content: object = None) -> str:
    """Return what is wrong first, without a full stop: the key, what is expected and what is there."""
    # An unknown key comes first: where one is missing, it is often the other's misspelling.
    errors = sorted(error.errors(include_url=False), key=lambda each: each["type"] != "extra_forbidden")
    key = _key(errors[0], content)
    # Where a value may be of several kinds, each kind has its own error: that of a part tells most.
    first = max(errors, key=lambda each: _key(each, content).startswith(f"{key}."))
    key = _key(first, content)
    if first["type"] == "extra_forbidden":
        owner = _model_at(model, first["loc"][:-1]) if model else None
        known = f"; known are {', '.join(owner.model_fields) or 'none'}" if owner else ""
        return f"the key '{key}' is unknown{known}"
    if first["type"] == "missing":
        return f"the key '{key}' is required and missing"
    value = quoted(first["input"])
    of_key = [each for each in errors if _key(each, content) == key]
    if first["type"] in _MAPPING_TYPES and len(of_key) == 1:
        where = f"'{key}'" if key else "the file"
        return f"{where} must be a mapping of keys to values, as in {{name: value}}, not {value}"
    if first["type"] == "value_error":
        sentence = first["msg"].removeprefix("Value error, ")
        return f"'{key}': {sentence.removesuffix(f', not {value}')}, not {value}" if key else sentence
    # A value of a right kind in a wrong range needs no word of the other kinds.
    of_key = [each for each in of_key if each["type"] in _RANGES] or of_key
    expected = " or ".join(
        dict.fromkeys(_expected(each["type"], each.get("ctx", {})) or each["msg"] for each in of_key)
    )
    return f"'{key}' is {value}, where {expected} is expected" if key else f"{expected} is expected"


def _key(error: ErrorDetails, content: object) -> str:
    """Return where in the content an error is, without the kinds of values that pydantic puts between."""
    parts = []
    for i, part in enumerate(error["loc"]):
        if content is None:
            parts.append(part)
        elif isinstance(content, Mapping) and (
            part in content or part == "[key]" or (error["type"] == "missing" and i + 1 == len(error["loc"]))
        ):
            content = content.get(part, ...)
            parts.append(part)
        elif isinstance(content, Sequence) and not isinstance(content, str) and isinstance(part, int):
            content = content[part]
            parts.append(part)
    return ".".join(quoted(part, quotes=False) for part in parts)


def _model_at(model: type[BaseModel], place: Sequence[int | str]) -> type[BaseModel] | None:
    """Return the model whose key an error is about; None where several may be meant, or none is."""
    candidates = [model]
    for part in place:
        fields = [one.model_fields[part] for one in candidates if part in one.model_fields]
        if fields:
            candidates = [found for field in fields for found in _models_within(field.annotation)]
        # Else it is a place in a list or a mapping, or which kind of several it is.
        elif named := [one for one in candidates if one.__name__ == part]:
            candidates = named
    return candidates[0] if len(candidates) == 1 else None


def _models_within(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in _models_within(part)]


def _expected(kind: str, limits: Mapping[str, Any]) -> str | None:
    """Return in words what a pydantic error type misses, or None where its own message says it well."""
    words = {
        **dict.fromkeys(_MAPPING_TYPES, "a mapping"),
        "string_type": "text",
        "path_type": "text",
        "string_unicode": "text without halves of surrogate pairs",
        "int_type": "a whole number",
        "int_from_float": "a whole number",
        "int_parsing": "a whole number",
        "float_type": "a number",
        "float_parsing": "a number",
        "bool_type": "true or false",
        "bool_parsing": "true or false",
        "list_type": "a list",
        "tuple_type": "a list",
        "none_required": "null",
        "finite_number": "a finite number",
        "string_too_short": "a text that is not empty",
        "string_pattern_mismatch": "a text of another form",
    }
    if kind == "literal_error":
        return "one of " + str(limits["expected"]).replace("'", "").replace(" or ", ", ")
    if kind in {"too_short", "too_long"}:
        what = "a mapping" if limits["field_type"] == "Dictionary" else "a list"
        if kind == "too_short" and limits["min_length"] == 1:
            return f"{what} that is not empty"
        bound = "least {min_length}" if kind == "too_short" else "most {max_length}"
        return f"{what} of at {bound.format(**limits)}"
    if kind not in _RANGES:
        return words.get(kind)
    return _RANGES[kind].format(**{k: f"{v:g}" if isinstance(v, float) else v for k, v in limits.items()})


def quoted(value: object, *, quotes: bool = True) -> str:
    """Return a value for an error message, cut to a length; `repr` escapes what cannot be printed."""
    if isinstance(value, int) and not isinstance(value, bool) and is_beyond_64_bits(value):
        return f"a whole number of {value.bit_length()} bits"
    try:
        text = repr(value[: _LONGEST_QUOTE + 1]) if isinstance(value, str) else _SHORT.repr(value)
    except ValueError:  # a whole number inside of it has too many digits to be written
        text = f"a {type(value).__name__} with a huge number"
    if not quotes and isinstance(value, str):
        text = text[1:-1]
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…"


def is_beyond_64_bits(number: int) -> bool:
    """Return whether a whole number is larger than records and most libraries hold."""
    return not -_LARGEST_INTEGER <= number < _LARGEST_INTEGER


def legible(name: object) -> str:
    """Return a path or another name as it stands, or `quoted` where it is long or cannot be printed."""
    text = str(name)
    return text if len(text) <= _LONGEST_NAME and text.isprintable() else quoted(text)
