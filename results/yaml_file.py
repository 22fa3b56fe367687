"""Reading a YAML file that a user wrote."""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from results.errors import InputError
from results.validation import refuse_unwritable

_LARGEST_FILE = 2**20


def beside(file: Path, location: str) -> str:
    """A location in a file: taken from the file's folder where something lies there, else as it stands."""
    folder = file.parent / Path(location).expanduser()
    try:
        return str(folder) if folder.exists() else location
    except OSError:  # no file can have such a name
        return location


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
            content = reader.get_single_data()
        finally:
            reader.dispose()
        refuse_unwritable(content, str(path))
        return content
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise InputError(f"{path}{where}: not valid YAML ({error.problem or error.context}).") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
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

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        """Return the scalar. JSON escapes an emoji as two halves, which are joined here."""
        text = super().construct_scalar(node)
        if isinstance(text, str) and any("\ud800" <= letter <= "\udfff" for letter in text):
            return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
        return text


# YAML 1.1 takes 1e-3, which lacks a point, for text.
StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+$"), list("-+0123456789")
)
