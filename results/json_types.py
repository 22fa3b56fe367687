"""What the fields of JSON objects must be, for files that others may have written."""

import json
import math
import reprlib
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

DEEPEST = 100
"""How deep lists and objects may be nested in each other. What a run or a record holds takes about ten."""
_MOST = 2**63


class JsonType(NamedTuple):
    """A kind of JSON value: what an error calls it, and whether a value is one."""

    name: str
    fits: Callable[[Any], bool]

    @property
    def or_null(self) -> "JsonType":
        """The same, or null."""
        return JsonType(f"{self.name} or null", lambda value: value is None or self.fits(value))


def mapping(of: JsonType) -> JsonType:
    """An object whose values are all of one type."""
    return JsonType(
        f"an object whose every value is {of.name}",
        lambda value: isinstance(value, dict) and all(map(of.fits, value.values())),
    )


def one_of(*texts: str) -> JsonType:
    """One of some texts."""
    return JsonType(f"one of {', '.join(texts)}", lambda value: isinstance(value, str) and value in texts)


# A truth value is a number to Python, and a number of any size is one to JSON.
TEXT = JsonType("text", lambda value: isinstance(value, str))
TRUTH = JsonType("true or false", lambda value: isinstance(value, bool))
INTEGER = JsonType("a whole number", lambda value: type(value) is int and -_MOST <= value < _MOST)
NUMBER = JsonType(
    "a number", lambda value: (type(value) is float and math.isfinite(value)) or INTEGER.fits(value)
)
OBJECT = JsonType("an object", lambda value: isinstance(value, dict))
LIST = JsonType("a list", lambda value: isinstance(value, list))
TEXTS = JsonType("a list of texts", lambda value: isinstance(value, list) and all(map(TEXT.fits, value)))


def parsed(content: bytes) -> Any:
    """The value that a file holds.

    Raises:
        ValueError: it is not JSON, or no text that can be written again, or is nested too deep to be read.
    """
    try:
        value = json.loads(content)
        if b"\\u" in content:  # a half of a surrogate pair can be written so, and encoded by nobody
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    # To count brackets is quick, and in most files there are too few of them to look any closer.
    if content.count(b"[") + content.count(b"{") > DEEPEST and _depth(value) > DEEPEST:
        raise ValueError("it is nested too deep")
    return value


def checked(value: Any, types: Mapping[str, JsonType], optional: Collection[str] = ()) -> dict[str, Any]:
    """The value, if it is an object with these fields and no others.

    Raises:
        ValueError: names the first field that is wrong.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{reprlib.repr(value)} stands where an object is expected")
    for name, kind in types.items():
        if name not in value:
            if name in optional:
                continue
            raise ValueError(f"{name} is missing")
        if not kind.fits(value[name]):
            raise ValueError(f"{name} is {reprlib.repr(value[name])}, where {kind.name} is expected")
    for name in value:
        if name not in types:
            raise ValueError(f"{reprlib.repr(name)} is unknown")
    return value


def _depth(value: Any) -> int:
    """How deep a value is nested, without recursion."""
    depth, level = 0, [value]
    while level := [one for one in level if isinstance(one, dict | list)]:
        depth += 1
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
    return depth
