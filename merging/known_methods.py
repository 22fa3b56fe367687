"""The merge methods by name: those in `merging.methods`, and those in a user's own files."""

import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeVar

from pydantic.errors import PydanticUserError

from merging.method import Method, MethodPreset, Scope
from merging.method_file import class_name, is_method_file, load_class
from results.errors import InputError
from results.validation import quoted, validated


@dataclass(frozen=True)
class KnownMethod:
    """A registered method: its name, the paper it comes from, and its class."""

    name: str
    paper: str
    kind: type[Method]

    @property
    def settings(self) -> tuple[str, ...]:
        """Names of the settings it accepts."""
        return tuple(self.kind.model_fields)


_KNOWN: dict[str, KnownMethod] = {}
_Kind = TypeVar("_Kind", bound=type[Method])


def register(name: str, *, paper: str) -> Callable[[_Kind], _Kind]:
    """Make a method known under a name, with the address of the paper that describes it.

    Raises:
        ValueError: the name is taken, or the class cannot be merged by (scope `model` is for methods that are
            `streamed`).
    """

    def add(kind: _Kind) -> _Kind:
        if name in _KNOWN:
            raise ValueError(f"a method named {name!r} is registered already")
        _check(name, kind)
        _KNOWN[name] = KnownMethod(name, paper, kind)
        return kind

    return add


def _check(name: str, kind: type[Method]) -> None:
    if "__dataclass_fields__" in vars(kind):
        raise ValueError(f"the fields of method {name!r} are its settings: leave @dataclass out")
    if not kind.streamed and getattr(kind, "scope", None) not in (Scope.ELEMENT, Scope.ROW, Scope.TENSOR):
        raise ValueError(f"method {name!r} must declare the scope element, row or tensor, or be streamed")


def known_methods() -> dict[str, KnownMethod]:
    """Return the registered methods by name, those in `merging.methods` included."""
    package = import_module("merging.methods")
    for module in pkgutil.iter_modules(package.__path__):
        import_module(f"merging.methods.{module.name}")
    return dict(sorted(_KNOWN.items()))


def find_method(name: str) -> KnownMethod:
    """Return a method by its name, or from a user's file by `path/to/file.py:Class`.

    Raises:
        InputError: there is none, or the class is no method.
    """
    if is_method_file(name):
        kind = load_class(name)
        if not issubclass(kind, Method):
            raise InputError(f"Method {name!r} is not a subclass of merging.Method.")
        if inspect.isabstract(kind):
            missing = ", ".join(sorted(kind.__abstractmethods__))
            raise InputError(f"Method {name!r} does not define {missing}.")
        try:
            _check(class_name(name), kind)
        except ValueError as error:
            raise InputError(f"{name.rpartition(':')[0]}: {error}.") from None
        papers = [method.paper for method in _KNOWN.values() if method.kind is kind]
        return KnownMethod(name, papers[0] if papers else "", kind)
    methods = known_methods()
    if name not in methods:
        raise InputError(
            f"Method {quoted(name)} is not known; choose one of {', '.join(methods)}, or name your own as "
            "path/to/file.py:Class."
        )
    return methods[name]


def find_preset(method: str, preset: str) -> MethodPreset:
    """Return a method's preset by its name.

    Raises:
        InputError: the method, or the preset, is not known.
    """
    presets = find_method(method).kind.presets
    if preset not in presets:
        known = f"there are {', '.join(presets)}" if presets else "it has none"
        raise InputError(f"Method {method!r} has no preset {quoted(preset)}; {known}.")
    return presets[preset]


def make(name: str, settings: Mapping[str, Any]) -> Method:
    """Return a method with its settings.

    Raises:
        InputError: no such method or setting, or a value of the wrong type or out of range.
    """
    kind = find_method(name).kind
    try:
        return validated(kind, dict(settings), f"Method {name!r}")
    except PydanticUserError as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(f"Method {name!r}: a setting's type is not known ({reason}).") from None
