"""What a merge is made from and by: enough to tell whether another one would give the same."""

import inspect
import platform
from importlib.metadata import version
from typing import Any

from merging.method import Method
from merging.method_file import source_of

MERGING_VERSION = 4
"""Part of the key of merges that are kept. To be raised by what changes the weights that a merge gives."""


def described(method: Method) -> list[Any]:
    """Return what decides a method's results: its settings, and its code where that is no part of ours."""
    method_class = type(method)
    return [method_class.__qualname__, method.model_dump(), code_of(method_class)]


def code_of(method_class: type[Method]) -> str:
    """Return the code of a method of the user's own; of ours `MERGING_VERSION` says which it is."""
    if method_class.__module__.startswith("merging."):
        return ""
    try:
        return source_of(method_class) or inspect.getsource(method_class)
    except (OSError, TypeError):  # typed into an interpreter
        return ""


def versions() -> dict[str, str]:
    """Return the versions that a merge's report names."""
    packages = ("manyshot", "torch", "safetensors")
    return {"python": platform.python_version(), **{package: version(package) for package in packages}}
