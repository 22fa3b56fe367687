"""Reading the YAML that defines benchmarks: safe loading, references to functions, and what lm-eval ships.

`!function module.name` becomes a `FunctionReference`. Nothing is imported until the reference is resolved,
so a definition can be listed and fingerprinted without lm-eval.
"""

import functools
import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from results.errors import InputError
from results.yaml_file import StrictLoader, read_yaml


@dataclass(frozen=True)
class FunctionReference:
    """A function named in a definition: an importable module and an attribute of it."""

    module: str
    name: str

    def resolve(self) -> Any:
        """Import the module and return the function.

        Raises:
            InputError: there is no such function, or it is neither one of ours nor one of lm-eval's tasks'.
        """
        _module_file(self.module)
        try:
            return getattr(importlib.import_module(self.module), self.name)
        except (ImportError, AttributeError) as error:
            raise InputError(f"The function {self.module}.{self.name} cannot be loaded: {error}.") from error


def packaged_tasks() -> Path:
    """Folder of the task definitions that lm-eval ships."""
    spec = importlib.util.find_spec("lm_eval")
    if spec is None or not spec.submodule_search_locations:
        raise InputError("lm-eval is not installed: run `make setup`.")
    return Path(spec.submodule_search_locations[0]) / "tasks"


def load_definition(path: Path) -> dict[str, Any]:
    """Load a YAML mapping, following `include:` as lm-eval does (included keys first, local keys win)."""
    content = read_yaml(path, _loader(path.parent))
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold a mapping of keys to values.")
    includes = content.pop("include", [])
    merged: dict[str, Any] = {}
    for include in includes if isinstance(includes, list) else [includes]:
        merged |= load_definition(path.parent / include)
    return merged | content


def resolve_functions(value: Any) -> Any:
    """The same structure with every function reference replaced by its function."""
    return _replace_references(value, FunctionReference.resolve)


def fingerprint(value: Any) -> Any:
    """The same structure, ready for JSON, with every function replaced by its name."""
    return _replace_references(value, lambda reference: f"{reference.module}.{reference.name}")


def filled(value: Any, **names: str) -> Any:
    """The same structure with {name} in its keys and strings replaced by what it stands for.

    Other braces, such as those of templates, stay.
    """
    if isinstance(value, str):
        for name, stands_for in names.items():
            value = value.replace(f"{{{name}}}", stands_for)
        return value
    if isinstance(value, Mapping):
        return {filled(key, **names): filled(item, **names) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, **names) for item in value]
    return value


def function_reference(spec: str, folder: Path) -> FunctionReference:
    """What `module.name` means in a definition that lies in `folder`.

    A module of the folder comes first; otherwise the name is taken as it stands (`tasks.coqa.coqa.splits`).
    """
    module, _, name = spec.rpartition(".")
    if not module:
        raise InputError(f"'{spec}' in {folder} must be written module.function.")
    if (folder / f"{module.replace('.', '/')}.py").is_file():
        module = f"{_package_of(folder)}.{module}"
    return FunctionReference(module, name)


def _replace_references(value: Any, replace: Any) -> Any:
    if isinstance(value, FunctionReference):
        return replace(value)
    if isinstance(value, Mapping):
        return {key: _replace_references(item, replace) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_replace_references(item, replace) for item in value]
    return value


def _package_of(folder: Path) -> str:
    roots = {packaged_tasks(): "lm_eval.tasks", _own_tasks(): "tasks"}
    for root, package in roots.items():
        if folder.resolve().is_relative_to(root.resolve()):
            parts = folder.resolve().relative_to(root.resolve()).parts
            return ".".join((package, *parts))
    raise InputError(f"{folder} lies outside the folder of benchmarks, so its functions cannot be imported.")


def _own_tasks() -> Path:
    spec = importlib.util.find_spec("tasks")
    assert spec is not None and spec.submodule_search_locations
    return Path(next(iter(spec.submodule_search_locations)))


def _module_file(module: str) -> Path:
    package, _, rest = module.partition(".tasks.") if module.startswith("lm_eval.") else ("", "", module)
    if package:
        return packaged_tasks() / f"{rest.replace('.', '/')}.py"
    if module.startswith("tasks."):
        return _own_tasks() / f"{module.removeprefix('tasks.').replace('.', '/')}.py"
    raise InputError(f"The module {module} is neither one of ours nor one of lm-eval's.")


@functools.cache
def _loader(folder: Path) -> type[StrictLoader]:
    class Loader(StrictLoader):
        pass

    def construct(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> FunctionReference:
        return function_reference(str(loader.construct_scalar(node)), folder)

    Loader.add_constructor("!function", construct)
    return Loader
