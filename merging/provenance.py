"""What a merge is made from and by: enough to tell whether another one would give the same."""

import hashlib
import inspect
import platform
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from merging.method import Method
from merging.method_file import source_of


def described(method: Method) -> list[Any]:
    """Return what decides a method's results: its settings, and its code where that is no part of ours."""
    kind = type(method)
    try:
        code = source_of(kind) or inspect.getsource(kind)
    except (OSError, TypeError):  # typed into an interpreter
        code = ""
    return [kind.__qualname__, asdict(method), code]  # type: ignore[call-overload]


@cache
def code_digest() -> str:
    """Return the digest of this package's code, so that a merge by other code is not taken for the same."""
    folder = Path(__file__).parent
    files = sorted(folder.rglob("*.py"))
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()


def versions() -> dict[str, str]:
    """Return the versions that a merge's report names."""
    packages = ("manyshot", "torch", "safetensors")
    return {"python": platform.python_version(), **{package: version(package) for package in packages}}
