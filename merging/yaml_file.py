"""Reading a YAML file that a user wrote, and saying in one sentence what is wrong with it."""

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
        first = error.errors(include_input=False, include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        raise InputError(f"{source}: {key}: {first['msg'].removeprefix('Value error, ')}.") from None


def beside(file: Path, location: str) -> str:
    """A location in a file: taken from the file's folder where something lies there, else as it stands."""
    folder = file.parent / Path(location).expanduser()
    return str(folder) if folder.exists() else location


def read_yaml(path: Path) -> Any:
    """What a YAML file holds, by the safe loader.

    Raises:
        InputError: it cannot be read, is not YAML, or gives a key twice.
    """
    try:
        size = path.stat().st_size
        if size > _LARGEST_FILE:
            raise InputError(f"{path} has {size} bytes; at most {_LARGEST_FILE} are read.")
        loader = _Loader(path.read_text(encoding="utf-8"))
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} is not valid YAML ({reason}).") from None


class _Loader(yaml.SafeLoader):
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
