"""All records of a store in one file, so that twenty thousand of them load in less than a second.

The index, `<store>/index.parquet`, holds every record that was read and checked before, with the size, time
of change and inode that its file had then. A file of others is read and checked again, and no record is taken
from the index whose file is gone. The index may be removed at any time.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic_core import from_json

from results.kept_table import read_table, write_table
from results.record import Record, record_fields

FILE = "index.parquet"
LEAST_NEW = 500
"""So many records that the index lacks make it worth to write it again."""
Signature = tuple[int, int, int]
"""What tells whether a file has changed: its size, time of change and inode."""
_COLUMNS = ("name", "size", "changed", "inode", "record")


def record_values(root: Path, read: Callable[[Path], Record]) -> Iterator[dict[str, Any]]:
    """Every record of a store as JSON values, in the order of the digests.

    Args:
        root: of the store.
        read: reads and checks a record's file.

    Raises:
        InputError: a file is broken; the message names it.
    """
    files = _record_files(root)
    kept = _read_index(root / FILE) if len(files) >= LEAST_NEW else {}
    texts: dict[str, str] = {}
    new = 0
    for name, (path, signature) in sorted(files.items()):
        text = kept[name][1] if kept.get(name, ((), ""))[0] == signature else None
        if text is None:
            text = read(Path(path)).model_dump_json()
            new += 1
        texts[name] = text
        value: dict[str, Any] = from_json(text)
        yield value
    if new >= LEAST_NEW:
        _write_index(root, {name: signature for name, (_, signature) in files.items()}, texts)


def _record_files(root: Path) -> dict[str, tuple[str, Signature]]:
    """By name, the records' files with what tells whether they have changed."""
    found = {}
    with suppress(FileNotFoundError, NotADirectoryError):
        for folder in os.scandir(root / "records"):
            if len(folder.name) == 2 and folder.is_dir():
                for file in os.scandir(folder):
                    if file.name.endswith(".json") and not file.name.startswith("."):
                        found[file.name] = file.path, signature_of(file.stat())
    return found


def signature_of(status: os.stat_result) -> Signature:
    """The signature of a file."""
    return status.st_size, status.st_mtime_ns, status.st_ino


def _read_index(path: Path) -> Mapping[str, tuple[Signature, str]]:
    """By the name of a record's file, its signature and the record; empty where the index is of no use."""
    table = read_table(path, _COLUMNS, record_fields())
    if table is None:
        return {}
    names, sizes, changed, inodes, records = (table[name].to_pylist() for name in _COLUMNS)
    signatures = zip(sizes, changed, inodes, strict=True)
    return dict(zip(names, zip(signatures, records, strict=True), strict=True))


def _write_index(root: Path, signatures: Mapping[str, Signature], texts: Mapping[str, str]) -> None:
    names = list(texts)
    columns = [names, *zip(*(signatures[name] for name in names), strict=True), list(texts.values())]
    arrays = [pa.array(column) for column in columns]
    write_table(root, root / FILE, pa.Table.from_arrays(arrays, list(_COLUMNS)), record_fields())
