"""Values as JSON has them, and digests of them."""

import hashlib
import json
from typing import Any

from results.errors import InputError


def json_value(value: object) -> Any:
    """The value as JSON gives it back: tuples as lists, and keys as text."""
    return json.loads(json.dumps(value))


def digest_of(value: object) -> str:
    """Sha256, in hex, of the value's canonical JSON: sorted keys, no spaces, UTF-8.

    Raises:
        InputError: the value holds a NaN, an infinity, or something that JSON does not have.
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{value!r} cannot be kept as JSON ({error}); give finite numbers and text"
        ) from None
    return hashlib.sha256(text.encode()).hexdigest()


def cache_key(value: object) -> str:
    """Sha256, in hex, of all that decides what is kept; what JSON does not have counts as text."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
