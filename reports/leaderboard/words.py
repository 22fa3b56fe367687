"""Settings in a line."""

from collections.abc import Mapping

from pydantic import JsonValue

from results.markdown import printable


def in_words(settings: Mapping[str, JsonValue]) -> str:
    """Names with their values, of those that are set."""
    return printable(", ".join(f"{name} {value}" for name, value in settings.items() if value is not None))
