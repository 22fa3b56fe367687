"""A method's parameters as mergekit finds them: the innermost that has a value for a tensor counts.

Settings are looked for at the model, then at the slice, then at the whole document. Written one after the
other as a list of `{filter, value}` they are one setting of ours, which `varying` reads in the same way.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isfinite
from typing import Any, NamedTuple

from merging.varying import EVERYWHERE
from results.errors import InputError
from results.validation import quoted

Scopes = Sequence[Mapping[str, Any] | None]
"""The parameters at each place, the innermost first."""
_ABSENT = object()
SWITCHES = frozenset({
    "filter_wise", "int8_mask", "normalize", "normalize_weights", "nuslerp_flatten", "nuslerp_row_wise",
    "rescale",
})  # fmt: skip
"""Parameters that are true or false, or a number that says so."""


class Range(NamedTuple):
    """Which numbers a parameter may be: in words, and whether one is among them."""

    words: str
    holds: Callable[[float], bool]


ANY = Range("a finite number", lambda _: True)


def setting(scopes: Scopes, name: str, where: str, default: Any = _ABSENT, *, within: Range = ANY) -> Any:
    """Return a parameter as ours: a value, a list over the depth, or a list of `{filter, value}`.

    Args:
        scopes: where it may be given, the innermost first.
        name: the parameter's.
        where: what an error calls the place, such as a model.
        default: what tensors have for which no place gives a value; by default each must be given one.
        within: which numbers it may be.

    Raises:
        InputError: it is not given, has another form, or is no such number.
    """
    entries: list[dict[str, Any]] = []
    for scope in scopes:
        for entry in _entries((scope or {}).get(name), name, where, within):
            entries.append(entry)
            if "filter" not in entry:
                break
        else:
            continue
        break
    else:
        if default is not _ABSENT:
            entries.append({"value": default})
    if not entries:
        raise InputError(f"{where}: the parameter '{name}' is required and missing.")
    return entries[0]["value"] if "filter" not in entries[0] else entries


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return a setting with every value in it changed, wherever it stands."""
    if isinstance(value, list):
        return [mapped(each, change) for each in value]
    if isinstance(value, Mapping):
        return {**value, "value": mapped(value["value"], change)}
    return change(value)


def one_for_all(by_task: Mapping[str, Any]) -> Any:
    """Return a setting of every task as one where all have the same, else by task."""
    first, *others = by_task.values()
    return dict(by_task) if any(other != first for other in others) else first


def plain(value: Any, name: str, where: str) -> Any:
    """Return a setting that may not differ from tensor to tensor.

    Raises:
        InputError: it does.
    """
    if isinstance(value, list | Mapping):
        raise InputError(f"{where}: the parameter '{name}' must be one value for all tensors here.")
    return value


def filters(scopes: Iterable[Mapping[str, Any] | None]) -> list[str]:
    """Return every filter in some parameters."""
    return [
        str(entry["filter"])
        for scope in scopes
        for value in (scope or {}).values()
        for entry in (value if isinstance(value, list) else [value])
        if isinstance(entry, Mapping) and entry.get("filter") not in (None, EVERYWHERE)
    ]


def _entries(value: Any, name: str, where: str, within: Range) -> list[dict[str, Any]]:
    """Return `{filter, value}`s, without a filter where one is for all tensors."""
    if value is None or value == []:
        return []
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, list) or not any(isinstance(entry, Mapping) for entry in value):
        _refuse_no_number(value, name, where, within)
        return [{"value": value}]
    for entry in value:
        if not isinstance(entry, Mapping) or not {"value"} <= entry.keys() <= {"filter", "value"}:
            raise InputError(
                f"{where}: the parameter '{name}' has {quoted(entry)} in its list, where "
                "{filter: part of a tensor's name, value: ...} is expected."
            )
        _refuse_no_number(entry["value"], name, where, within)
    return [
        {"value": entry["value"]}
        if entry.get("filter") in (None, EVERYWHERE)
        else {"filter": entry["filter"], "value": entry["value"]}
        for entry in value
    ]


def _refuse_no_number(value: Any, name: str, where: str, within: Range) -> None:
    expected = "true or false" if name in SWITCHES else within.words
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, bool) and name in SWITCHES:
            continue
        is_number = isinstance(each, int | float) and not isinstance(each, bool) and isfinite(each)
        if not is_number or not within.holds(each):
            raise InputError(
                f"{where}: the parameter '{name}' is {quoted(each)}, where {expected} is expected."
            )
