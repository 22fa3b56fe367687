"""Reading the YAML that defines benchmarks: safe loading, references to functions, and what lm-eval ships.

`!function module.name` becomes a `FunctionReference`. Nothing is imported until the reference is resolved,
so a definition can be listed and fingerprinted without lm-eval.
"""

import functools
import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml
from pydantic import Field
from pydantic_core import CoreSchema, core_schema

from merging.chat import template_beside
from results.errors import InputError
from results.reading import StrictLoader, read_yaml
from results.validation import OneOrMore, Settings, validated


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
        if not self.module.startswith(("tasks.", "lm_eval.tasks.")):
            raise InputError(f"The module {self.module} is neither one of ours nor one of lm-eval's.")
        try:
            return getattr(importlib.import_module(self.module), self.name)
        except (ImportError, AttributeError) as error:
            raise InputError(f"The function {self.module}.{self.name} cannot be loaded: {error}.") from error

    @property
    def runs_user_code(self) -> bool:
        """Whether resolving it runs code that is neither ours nor lm-eval's."""
        return False

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(cls._given)

    @classmethod
    def _given(cls, value: object) -> "FunctionReference":
        if not isinstance(value, cls):
            raise ValueError("a function is written `!function module.name`")
        return value


@dataclass(frozen=True)
class UserFunction(FunctionReference):
    """A function of a user's own task folder; the module's name is followed by `@` and a digest of the code.

    Attributes:
        file: the Python file; None for a module that is installed.
    """

    file: Path | None = None

    @property
    def source(self) -> str:
        """The module's name alone."""
        return self.module.partition("@")[0]

    @property
    def runs_user_code(self) -> bool:
        """Whether resolving it runs code that is neither ours nor lm-eval's."""
        return True

    def resolve(self) -> Any:
        """Import the file, or the module, and return the function. Only to be called where that is allowed.

        Raises:
            InputError: there is no such function.
        """
        try:
            module = _module_of(self.file) if self.file else importlib.import_module(self.source)
            return getattr(module, self.name)
        except Exception as error:  # whatever the user's code raises
            where = self.file or self.source
            raise InputError(
                f"The function {self.name} of {where} cannot be loaded: {type(error).__name__}: {error}."
            ) from error


@functools.cache
def _module_of(file: Path) -> ModuleType:
    """A Python file, run once."""
    spec = importlib.util.spec_from_file_location(str(file.with_suffix("")), file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[spec.name] = module  # so that lm-eval can show the function's source
    return module


class _Includes(Settings):
    include: OneOrMore[str] = Field([])


@functools.cache
def packaged_tasks() -> Path:
    """Folder of the task definitions that lm-eval ships."""
    return _folder_of("lm_eval") / "tasks"


@functools.cache
def tasks_folder() -> Path:
    """Folder of our benchmark definitions."""
    return _folder_of("tasks")


def _folder_of(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"The package {package} is not installed: run `make setup`.")
    return Path(next(iter(spec.submodule_search_locations)))


def load_definition(path: Path, including: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Load a YAML mapping with the files that its key `include` names, whose keys come first.

    Mappings in our own files are merged key by key. Of a file that lm-eval ships a key replaces the included
    one as a whole, as in lm-eval.

    Raises:
        InputError: a file is not there, is not a mapping, or includes itself.
    """
    if path in including:
        raise InputError(f"{path} includes itself.")
    content = read_yaml(path, _loader(path.parent))
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold a mapping of keys to values.")
    chat = content.get("chat")
    if isinstance(chat, dict) and isinstance(template := chat.get("chat_template"), str):
        chat["chat_template"] = template_beside(path, template)
    given = {"include": content.pop("include")} if "include" in content else {}
    included: dict[str, Any] = {}
    deep = not path.is_relative_to(packaged_tasks())
    for name in validated(_Includes, given, str(path)).include:
        other = load_definition((path.parent / name).resolve(), (*including, path))
        included = _merged(included, other) if deep else included | other
    return _merged(included, content) if deep else included | content


def _merged(included: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(included)
    for key, value in own.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


def resolve_functions(value: Any) -> Any:
    """The same structure with every function reference replaced by its function."""
    return replace_references(value, lambda reference: reference.resolve())


def fingerprint(value: Any) -> Any:
    """The same structure, ready for JSON, with every function replaced by its name."""
    return replace_references(value, lambda reference: f"{reference.module}.{reference.name}")


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


def _function_reference(spec: str, folder: Path) -> FunctionReference:
    """What `!function module.name` means in a definition that lies in `folder`.

    A module of the folder comes first; otherwise the name is taken as it stands (`tasks.coqa.coqa.splits`).
    """
    module, _, name = spec.rpartition(".")
    if not module:
        raise InputError(f"'{spec}' in {folder} must be written module.function.")
    if (folder / f"{module.replace('.', '/')}.py").is_file():
        module = f"{_package_of(folder)}.{module}"
    return FunctionReference(module, name)


def replace_references(value: Any, replace: Callable[[FunctionReference], Any]) -> Any:
    """The same structure with every function reference replaced by what is made of it."""
    if isinstance(value, FunctionReference):
        return replace(value)
    if isinstance(value, Mapping):
        return {key: replace_references(item, replace) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [replace_references(item, replace) for item in value]
    return value


def _package_of(folder: Path) -> str:
    roots = {packaged_tasks(): "lm_eval.tasks", tasks_folder(): "tasks"}
    for root, package in roots.items():
        if folder.resolve().is_relative_to(root.resolve()):
            parts = folder.resolve().relative_to(root.resolve()).parts
            return ".".join((package, *parts))
    raise InputError(f"{folder} lies outside the folder of benchmarks, so its functions cannot be imported.")


@functools.cache
def _loader(folder: Path) -> type[StrictLoader]:
    class Loader(StrictLoader):
        pass

    def construct(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> FunctionReference:
        return _function_reference(str(loader.construct_scalar(node)), folder)

    Loader.add_constructor("!function", construct)
    return Loader
