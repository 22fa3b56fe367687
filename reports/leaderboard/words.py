"""Settings in a line."""

from collections.abc import Mapping

from pydantic import JsonValue

from results.markdown import printable


def in_words(settings: Mapping[str, JsonValue]) -> str:
    """Names with their values, of those that are set; numbers to six digits."""
    return printable(_pairs({name: value for name, value in settings.items() if value is not None}))


def _pairs(settings: Mapping[str, JsonValue]) -> str:
    return ", ".join(f"{name} {_value(value)}" for name, value in settings.items())


def _value(value: JsonValue) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        return f"one of {_value(value['choose'])}" if value.keys() == {"choose"} else f"({_pairs(value)})"
    return str(value)
