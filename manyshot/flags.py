"""Command-line flags, generated from the fields of `Settings` classes: each setting is declared once."""

import argparse
import json
import re
import types
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel

from results.validation import Settings, is_beyond_64_bits, quoted, validated

_Settings = TypeVar("_Settings", bound=Settings)
_SHARE = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)%?")


def add_flags(
    parser: argparse.ArgumentParser,
    model: type[Settings],
    *,
    only: Collection[str] = (),
    names: Mapping[str, str] | None = None,
    defaults: Mapping[str, str] | None = None,
) -> None:
    """Add a flag for each field of a model: its name, type, choices, default and help are the field's.

    Args:
        parser: of a command.
        model: whose fields are meant. Fields that hold mappings or other models get no flag.
        only: fields that get one; all unless given.
        names: flags by field, where they are not called as the field.
        defaults: what the help says of fields that are not given, where the command takes another default.
    """
    for name, field in model.model_fields.items():
        kinds = _kinds(field.annotation)
        if (only and name not in only) or any(_is_nested(kind) for kind in kinds):
            continue
        default = (defaults or {}).get(name, _written(field.default))
        default = f" ({default})" if default else ""
        about = " ".join((field.description or "").split()).rstrip(".") + default
        flag = "--" + (names or {}).get(name, name).replace("_", "-")
        parser.add_argument(
            flag, dest=_destination(model, name), help=about.replace("%", "%%"), **_parsing(kinds, flag)
        )


def given(options: argparse.Namespace, model: type[Settings]) -> dict[str, Any]:
    """Return the fields of a model whose flags the user gave."""
    values = {}
    for name in model.model_fields:
        value = getattr(options, _destination(model, name), None)
        if value is not None:
            values[name] = value
    return values


def settings_of(options: argparse.Namespace, model: type[_Settings], **others: Any) -> _Settings:
    """Return the settings that the user gave by flags, the other fields by their defaults.

    Raises:
        InputError: one is out of its range.
    """
    return validated(model, given(options, model) | others, "The command line")


def whole_number(text: str) -> int:
    """Return a whole number of an argument; one of any number of digits is refused in a short sentence."""
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{quoted(text)} is no whole number") from None
    if is_beyond_64_bits(number):
        raise argparse.ArgumentTypeError(f"{quoted(text)} is too large")
    return number


def count(text: str) -> int:
    """Return a whole number from 1 on."""
    number = whole_number(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is below 1, where a whole number from 1 on is expected")
    return number


def count_or_auto(text: str) -> int | Literal["auto"]:
    """Return a whole number from 1 on, or `auto`."""
    return "auto" if text == "auto" else count(text)


def number(text: str) -> float:
    """Return a number of an argument."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{quoted(text)} is no number") from None


def numbers(text: str) -> list[float]:
    """Return the numbers of an argument, with commas between."""
    return [number(part) for part in text.split(",")]


def whole_or_share(text: str) -> int | float:
    """Return a number of an argument, whole where it is written so; `10%` is 0.1."""
    if text.lstrip("+-").isdigit():
        return whole_number(text)
    if not _SHARE.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{quoted(text)} is neither a number of documents nor a share such as 0.1 or 10%"
        )
    if not text.endswith("%"):
        return float(text)
    share = float(text[:-1]) / 100
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(
            f"{quoted(text)} is no share above 0% and below 100%; all documents are taken where none is given"
        )
    return share


def json_object(text: str) -> dict[str, Any]:
    """Return a JSON object of an argument."""
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{quoted(text)} is no JSON object")
    return value


def _destination(model: type[Settings], name: str) -> str:
    return f"{model.__name__}.{name}"


def _kinds(annotation: Any) -> list[Any]:
    """Return the types that a field may have, without None and what Annotated says of them."""
    if get_origin(annotation) is Annotated:
        return _kinds(get_args(annotation)[0])
    if get_origin(annotation) in {Union, types.UnionType}:
        return [kind for part in get_args(annotation) for kind in _kinds(part) if kind is not type(None)]
    return [annotation]


def _is_nested(kind: Any) -> bool:
    origin = get_origin(kind) or kind
    return isinstance(origin, type) and issubclass(origin, BaseModel | Mapping)


def _parsing(kinds: list[Any], flag: str) -> dict[str, Any]:
    """Return how a flag is parsed into one of some types."""
    for kind in kinds:
        if get_origin(kind) in {tuple, list}:
            return {"nargs": "+", **_parsing(_kinds(get_args(kind)[0]), flag)}
    if bool in kinds:
        return {"action": argparse.BooleanOptionalAction}
    metavar = flag.strip("-").replace("-", "_").upper()
    for kind in kinds:
        if get_origin(kind) is Literal:
            return {"choices": get_args(kind)}
    if float in kinds and int in kinds:
        return {"type": whole_or_share, "metavar": metavar}
    if float in kinds:
        return {"type": number, "metavar": metavar}
    return {"type": whole_number if int in kinds else str, "metavar": metavar}


def _written(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
