"""Reading a task's or a group's YAML as lm-eval reads it, with references in place of its functions.

Unlike in our own files a key that is given twice is not refused, and a key replaces an included one as a
whole.
"""

import functools
import hashlib
import importlib.util
from pathlib import Path
from typing import Any

import yaml

from bench.definition import FunctionReference, UserFunction, packaged_tasks
from results.errors import InputError


def read_task_file(
    path: Path, include: Path | None = None, including: tuple[Path, ...] = ()
) -> dict[str, Any]:
    """A task's or a group's YAML with the files that it includes, whose keys come first.

    Args:
        path: the file.
        include: the user's folder that it is from, whose Python files decide what its functions do.
        including: the files that include it.

    Raises:
        InputError: a file cannot be read, is no mapping, or includes itself.
    """
    path = path.resolve()
    if path in including:
        raise InputError(f"{path} includes itself.")
    try:
        content = yaml.load(path.read_bytes(), Loader=_loader(path.parent, include))  # noqa: S506 (a safe one)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise InputError(f"{path}: not valid YAML ({' '.join(str(error).split())}).") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold a mapping of keys to values.")
    included: dict[str, Any] = {}
    names = content.pop("include", [])
    for name in names if isinstance(names, list) else [names]:
        other = read_task_file(path.parent / str(name), include, (*including, path))
        other.pop("task_list", None)
        included |= other
    return included | content


def _loader(folder: Path, include: Path | None) -> type[yaml.SafeLoader]:
    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        pass

    def construct(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> FunctionReference:
        return _reference(str(loader.construct_scalar(node)), folder, include)

    Loader.add_constructor("!function", construct)
    return Loader


def _reference(spec: str, folder: Path, include: Path | None) -> FunctionReference:
    """What `!function module.name` means: a module beside the file, else one that can be imported."""
    module, _, name = spec.rpartition(".")
    if not module:
        raise InputError(f"'{spec}' in {folder} must be written module.function.")
    file = (folder / f"{module.replace('.', '/')}.py").resolve()
    root = packaged_tasks().resolve()
    if file.is_file():
        if file.is_relative_to(root):
            return FunctionReference(
                ".".join(("lm_eval", "tasks", *file.relative_to(root).with_suffix("").parts)), name
            )
        digest = code_digest(include or folder)[:16]
        if include is not None and not file.is_relative_to(include.resolve()):
            # The file that names it was included from elsewhere.
            digest += f"-{code_digest(file.parent)[:16]}"
        return UserFunction(f"{module}@{digest}", name, file=file)
    if module.startswith("lm_eval.tasks."):
        return FunctionReference(module, name)
    source = _installed(module)
    return UserFunction(f"{module}@{code_digest(source)[:16]}" if source else module, name)


def _installed(module: str) -> Path | None:
    """Folder of an importable module's package, or its file; found without running any of it."""
    try:
        spec = importlib.util.find_spec(module.partition(".")[0])
    except (ImportError, ValueError):
        return None
    places = [*(spec.submodule_search_locations or ()), spec.origin] if spec else []
    return next((Path(place) for place in places if place and Path(place).exists()), None)


@functools.cache
def code_digest(path: Path) -> str:
    """Digest of a Python file, or of all under a folder: what a user's functions do."""
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    digest = hashlib.sha256()
    for file in sorted(file for file in path.rglob("*.py") if file.is_file()):
        digest.update(str(file.relative_to(path)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()
