"""The merge methods by name: those in `merging.methods`, and those in a user's own files."""

import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TypeVar

from pydantic.errors import PydanticUserError

from merging.cost import Cost
from merging.method import Method, MethodPreset, Scope
from merging.method_file import class_name, is_method_file, load_class
from results.errors import InputError, nearest
from results.validation import quoted, validated


@dataclass(frozen=True)
class KnownMethod:
    """A registered method: its name, the paper it comes from, and its class."""

    name: str
    paper: str
    method_class: type[Method]

    @property
    def settings(self) -> tuple[str, ...]:
        """Names of the settings it accepts."""
        return tuple(self.method_class.model_fields)

    @property
    def cost(self) -> Cost:
        """What it needs and costs under its default settings."""
        fields = self.method_class.model_fields
        required = {name: None for name, setting in fields.items() if setting.is_required()}
        return self.method_class.model_construct(**required).cost


_KNOWN: dict[str, KnownMethod] = {}
_MethodClass = TypeVar("_MethodClass", bound=type[Method])


def register(name: str, *, paper: str) -> Callable[[_MethodClass], _MethodClass]:
    """Make a method known under a name, with the address of the paper that describes it.

    Raises:
        ValueError: the name is taken, or the class cannot be merged by (scope `model` is for methods that are
            `streamed`).
    """

    def add(method_class: _MethodClass) -> _MethodClass:
        if name in _KNOWN:
            raise ValueError(f"a method named {name!r} is registered already")
        _check(name, method_class)
        _KNOWN[name] = KnownMethod(name, paper, method_class)
        return method_class

    return add


def _check(name: str, method_class: type[Method]) -> None:
    if "__dataclass_fields__" in vars(method_class):
        raise ValueError(f"the fields of method {name!r} are its settings: leave @dataclass out")
    if not method_class.streamed and getattr(method_class, "scope", None) not in (
        Scope.ELEMENT,
        Scope.ROW,
        Scope.TENSOR,
    ):
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
        method_class = load_class(name)
        if not issubclass(method_class, Method):
            raise InputError(f"Method {name!r} is not a subclass of merging.Method.")
        if inspect.isabstract(method_class):
            missing = ", ".join(sorted(method_class.__abstractmethods__))
            raise InputError(f"Method {name!r} does not define {missing}.")
        try:
            _check(class_name(name), method_class)
        except ValueError as error:
            raise InputError(f"{name.rpartition(':')[0]}: {error}.") from None
        papers = [method.paper for method in _KNOWN.values() if method.method_class is method_class]
        return KnownMethod(name, papers[0] if papers else "", method_class)
    # A method mostly has the name of its module; to import all of them takes longer than some merges.
    if name not in _KNOWN and name.isidentifier() and find_spec(f"merging.methods.{name}"):
        import_module(f"merging.methods.{name}")
    if name in _KNOWN:
        return _KNOWN[name]
    methods = known_methods()
    if name not in methods:
        raise InputError(
            f"Method {quoted(name)} is not known.{nearest(name, methods)} `manyshot list methods` has all of "
            "them; name your own as path/to/file.py:Class."
        )
    return methods[name]


def name_of(method: Method) -> str:
    """Return the name under which a method's class is registered; that of the class where it is not."""
    kind = type(method)
    return next((name for name, known in _KNOWN.items() if known.method_class is kind), kind.__name__)


def find_preset(method: str, preset: str) -> MethodPreset:
    """Return a method's preset by its name.

    Raises:
        InputError: the method, or the preset, is not known.
    """
    presets = find_method(method).method_class.presets
    if preset not in presets:
        known = f"there are {', '.join(presets)}" if presets else "it has none"
        raise InputError(f"Method {method!r} has no preset {quoted(preset)}; {known}.")
    return presets[preset]


def make_method(name: str, settings: Mapping[str, Any]) -> Method:
    """Return a method with its settings.

    Raises:
        InputError: no such method or setting, or a value of the wrong type or out of range.
    """
    method_class = find_method(name).method_class
    try:
        return validated(method_class, dict(settings), f"Method {name!r}")
    except PydanticUserError as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(f"Method {name!r}: a setting's type is not known ({reason}).") from None
