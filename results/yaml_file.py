"""Reading a YAML file that a user wrote, and saying in one sentence what is wrong with it."""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from results.errors import InputError

_LARGEST_FILE = 2**20
_Model = TypeVar("_Model", bound=BaseModel)


def validated(model: type[_Model], content: object, source: str) -> _Model:
    """The content as a model.

    Args:
        model: what it should be.
        content: as read.
        source: what an error calls it, such as the file's path.

    Raises:
        InputError: names the source and the first key that is wrong.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        # An unknown key comes first: where one is missing, it is often the other's misspelling.
        errors = sorted(error.errors(include_url=False), key=lambda one: one["type"] != "extra_forbidden")
        raise InputError(f"{source}: {_sentence(errors[0], model)}.") from None


def _sentence(error: Any, model: type[BaseModel]) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        known = f"; known are {', '.join(model.model_fields)}" if len(error["loc"]) == 1 else ""
        return f"the key '{key}' is unknown{known}"
    if error["type"] == "missing":
        return f"the key '{key}' is required and missing"
    where = f"'{key}'" if key else "the file"
    if error["type"] in {"dict_type", "model_type", "model_attributes_type"}:
        return (
            f"{where} must be a mapping of keys to values, as in {{name: value}}, not {error['input']!r:.60}"
        )
    said = error["msg"].removeprefix("Value error, ")
    return f"{where}: {said}, not {error['input']!r:.60}" if key else said


def beside(file: Path, location: str) -> str:
    """A location in a file: taken from the file's folder where something lies there, else as it stands."""
    folder = file.parent / Path(location).expanduser()
    return str(folder) if folder.exists() else location


def read_yaml(path: Path, loader: type["StrictLoader"] | None = None) -> Any:
    """What a YAML file holds, by the safe loader.

    Args:
        path: the file.
        loader: a loader with further tags.

    Raises:
        InputError: it cannot be read, is not YAML, or gives a key twice.
    """
    try:
        size = path.stat().st_size
        if size > _LARGEST_FILE:
            raise InputError(f"{path} has {size} bytes; at most {_LARGEST_FILE} are read.")
        reader = (loader or StrictLoader)(path.read_text(encoding="utf-8"))
        try:
            return reader.get_single_data()
        finally:
            reader.dispose()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise InputError(f"{path}{where}: not valid YAML ({error.problem or error.context}).") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path}: not valid YAML ({' '.join(str(error).split())}).") from None


class StrictLoader(yaml.SafeLoader):
    """YAML's safe loader, which also refuses a key that is given twice: an expert would silently be lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Return the mapping."""
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is given twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


# YAML 1.1 takes 1e-3, which lacks a point, for text.
StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+$"), list("-+0123456789")
)
