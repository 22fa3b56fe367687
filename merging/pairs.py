"""Two values of one key, the base's and an expert's, and the dotted names by which keys are compared."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from merging.known_keys import Known, known


@dataclass(frozen=True)
class Pair:
    """The base's value of a key and an expert's, None where it is left out; and why they may differ."""

    ours: Any
    theirs: Any
    reason: Known | None = None


Pairs = dict[str, Pair]

_MOVED = {
    "rope_theta": "rope_parameters.rope_theta",
    "rope_scaling": "rope_parameters",
    "partial_rotary_factor": "rope_parameters.partial_rotary_factor",
    "torch_dtype": "dtype",
}
"""Names in old configurations, and what transformers 5 calls them."""


def todays_name(key: str) -> str:
    """Return a key under its name in transformers 5, where `config.rope_theta` is in `rope_parameters`."""
    where, _, inner = key.partition(".")
    first, dot, rest = inner.partition(".")
    return f"{where}.{_MOVED.get(first, first)}{dot}{rest}" if where == "config" else key


def unequal(ours: Mapping[str, Any], theirs: Mapping[str, Any], where: str) -> Pairs:
    """Return the values that differ, by dotted keys under today's names.

    Args:
        ours: the base's content.
        theirs: the expert's.
        where: what the keys start with: `config`, `generation` or `tokenizer`.
    """
    left, right = _flat(ours, where), _flat(theirs, where)
    pairs = {key: Pair(left.get(key), right.get(key)) for key in {**left, **right}}
    return {key: pair for key, pair in pairs.items() if pair.ours != pair.theirs}


def with_reasons(pairs: Pairs, *contents: Mapping[str, Any]) -> Pairs:
    """Return pairs with what is known of their keys, given what they stand among on both sides."""
    return {key: replace(pair, reason=pair.reason or known(key, *contents)) for key, pair in pairs.items()}


def _flat(content: Mapping[str, Any], where: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in content.items():
        key = f"{where}.{name}"
        flat |= _flat(value, key) if isinstance(value, Mapping) and value else {todays_name(key): value}
    return flat
