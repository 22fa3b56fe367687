"""Reading YAML and JSON files that others wrote. An error is one sentence with the file's name."""

import json
import math
import re
import stat
from collections.abc import Hashable, Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from results.errors import InputError
from results.validation import is_beyond_64_bits, quoted

_LARGEST_YAML = 2**20
_LARGEST_JSON = 2**26
_DEEPEST = 100
"""How deep lists and mappings may be nested in each other. What a run or a record holds takes about ten."""


def beside(file: Path, location: str) -> str:
    """A location in a file: taken from the file's folder where something lies there, else as it stands."""
    folder = file.parent / Path(location).expanduser()
    try:
        return str(folder) if folder.exists() else location
    except OSError:  # no file can have such a name
        return location


def read_yaml(path: Path, loader: type["StrictLoader"] | None = None) -> Any:
    """What a YAML file of one document holds, by the safe loader.

    Args:
        path: the file.
        loader: a loader with further tags.

    Raises:
        InputError: it cannot be read, is not YAML, has several documents, or gives a key twice.
    """
    return _read(path, loader or StrictLoader, single=True)[0]


def read_yaml_documents(path: Path) -> list[Any]:
    """What a YAML file holds, one document or several.

    Raises:
        InputError: it cannot be read, is not YAML, or gives a key twice.
    """
    return _read(path, StrictLoader, single=False) or [None]


def _documents(reader: yaml.SafeLoader) -> Iterator[Any]:
    while reader.check_data():
        yield reader.get_data()


def _read(path: Path, loader: type["StrictLoader"], *, single: bool) -> list[Any]:
    try:
        size = path.stat().st_size
        if size > _LARGEST_YAML:
            raise InputError(f"{path} has {size} bytes; at most {_LARGEST_YAML} are read.")
        reader = loader(path.read_text(encoding="utf-8"))
        try:
            contents = [reader.get_single_data()] if single else list(_documents(reader))
        finally:
            reader.dispose()
        refuse_unwritable(contents)
        return contents
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


def read_json(path: Path, advice: str = "", most_bytes: int | None = _LARGEST_JSON) -> Any:
    """What a JSON file holds.

    Args:
        path: the file.
        advice: what to do about a file that cannot be read, for the message.
        most_bytes: how large it may be; None is for a file of our own, which may have any size.

    Raises:
        InputError: it is no regular file, too large, not JSON, or holds what could not be written again.
    """
    end = f"; {advice}." if advice else "."
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # to open a pipe would wait for its writer
            raise InputError(f"{path} is no regular file{end}")
        if most_bytes is not None and status.st_size > most_bytes:
            raise InputError(f"{path} has {status.st_size} bytes, and at most {most_bytes} are read{end}")
        text = path.read_bytes().decode()
        content = _JSON.decode(text)
        # Numbers were checked while they were read. Only a file of many brackets can be deep, and only one
        # with such escapes can hold half of a surrogate pair: most need no closer look, which takes as long.
        if "\\u" in text or text.count("[") + text.count("{") > _DEEPEST:
            refuse_unwritable(content)
        return content
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}){end}") from None
    except RecursionError:
        raise InputError(f"{path}: not valid JSON (it is nested too deep){end}") from None
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON ({str(error).partition('; use sys')[0]}){end}") from None


def _integer(text: str) -> int:
    number = int(text)
    _refuse_number(number)
    return number


def _float(text: str) -> float:
    number = float(text)
    _refuse_number(number)
    return number


_JSON = json.JSONDecoder(parse_int=_integer, parse_float=_float, parse_constant=_float)


def _refuse_number(number: float) -> None:
    if isinstance(number, int) and is_beyond_64_bits(number):
        raise ValueError(f"a whole number has {number.bit_length()} bits; 64 are read at most")
    if not math.isfinite(number):
        raise ValueError(f"{number} is not a finite number")


def refuse_unwritable(content: object) -> None:
    """Refuse what no record could hold again, at any depth, even where YAML repeats a part by its anchor.

    Raises:
        ValueError: a whole number is beyond 64 bits, a text has half of a surrogate pair, or lists and
            mappings are nested too deep. That numbers are finite is checked of JSON while it is read, and of
            YAML by the settings, whose error names the key.
    """
    level: Iterable[object] = [content]
    for _ in range(_DEEPEST + 1):
        inner: dict[int, Any] = {}
        for value in level:
            if isinstance(value, str):
                if not value.isascii() and not _is_encodable(value):
                    raise ValueError(f"the text {quoted(value)} has half of a surrogate pair")
            elif isinstance(value, int):
                _refuse_number(value)
            elif isinstance(value, dict | list):
                inner[id(value)] = value
        if not inner:
            return
        level = [
            item
            for part in inner.values()
            for item in ((*part, *part.values()) if isinstance(part, dict) else part)
        ]
    raise ValueError("it is nested too deep")


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
