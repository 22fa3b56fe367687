"""What comparing a run reads of its records, in one file, so that it need not open thousands each time.

`<store>/compared/<run>.parquet` holds every record of a run's entries, with size, time of change and inode of
its file, and the numbers of its documents, with the digest of the rows that they were read from. A record
whose file is another is read again, and so are the numbers where the record names other rows. The file may be
removed at any time.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from results.kept_table import FOLDER, read_table, write_table
from results.record import Record, record_fields
from results.record_index import Signature, signature_of
from results.shared_items import ITEM
from results.store import DOCUMENT_KEY, Store

LEAST_NEW = 100
"""So many records that the file lacks make it worth to write it again."""
_COLUMNS = ("name", "size", "changed", "inode", "record", "rows", "keys", "of", "numbers")


@dataclass
class _Kept:
    """A record's row of the file: `keys` and `numbers`, whose columns are named in `of`, are of its rows."""

    signature: Signature
    record: str
    rows: str
    keys: bytes = b""
    of: str = ""
    numbers: bytes = b""


class KeptRows:
    """The records of a run's entries and their rows, as a store has them.

    Args:
        store: that has them; an attribute, too.
        run: the run's name.
    """

    def __init__(self, store: Store, run: str) -> None:
        self.store = store
        self._path = store.root / FOLDER / f"{run}.parquet"
        self._before = self._read()
        self._now: dict[str, _Kept] = {}
        self._records: dict[str, Record] = {}
        self._keys: dict[bytes, pa.Table] = {}
        self._new: set[str] = set()

    def get(self, digest: str) -> Record:
        """The record whose key has this digest; raises what `Store.get` does."""
        if digest in self._records:
            return self._records[digest]
        record = self._records[digest] = self._read_record(digest)
        return record

    def _read_record(self, digest: str) -> Record:
        kept, signature = self._before.get(digest), (0, 0, 0)
        with suppress(OSError):
            signature = signature_of(self.store.path(digest).stat())
        if kept is not None and kept.signature == signature:
            self._now[digest] = kept
            return Record.model_validate_json(kept.record)
        record, rows = self.store.read(digest)
        changed: dict[str, Any] = {"signature": signature, "record": record.model_dump_json(), "rows": rows}
        same_rows = kept is not None and kept.rows == rows
        self._now[digest] = replace(kept, **changed) if kept and same_rows else _Kept(**changed)
        self._new.add(digest)
        return record

    def rows(self, record: Record, numbers: Sequence[str]) -> pa.Table:
        """The documents' keys, their items where they name them, and columns of numbers, as float64.

        Raises what `Store.rows` does.

        Args:
            record: one that `get` has given.
            numbers: which columns.
        """
        digest = record.key.digest
        kept = self._now[digest]
        if kept.of != " ".join(numbers):
            table = self.store.rows(record, [*DOCUMENT_KEY, ITEM, *numbers])
            keys = table.select([name for name in table.column_names if name not in numbers])
            kept.keys, kept.of = _to_bytes(keys.replace_schema_metadata()), " ".join(numbers)
            kept.numbers = np.stack([np.asarray(table[name], dtype=np.float64) for name in numbers]).tobytes()
            self._new.add(digest)
        if kept.keys not in self._keys:
            self._keys[kept.keys] = pa.ipc.open_stream(kept.keys).read_all()
        keys = self._keys[kept.keys]
        columns = np.frombuffer(kept.numbers).reshape(len(numbers), len(keys))
        for name, column in zip(numbers, columns, strict=True):
            keys = keys.append_column(name, pa.array(column))
        return keys

    def save(self) -> None:
        """Write the file, where it lacks many of the records."""
        if len(self._new) < LEAST_NEW:
            return
        rows = [
            (name, *kept.signature, kept.record, kept.rows, kept.keys, kept.of, kept.numbers)
            for name, kept in self._now.items()
        ]
        arrays = [pa.array(column) for column in zip(*rows, strict=True)]
        write_table(
            self.store.root, self._path, pa.Table.from_arrays(arrays, list(_COLUMNS)), record_fields()
        )

    def _read(self) -> dict[str, _Kept]:
        table = read_table(self._path, _COLUMNS, record_fields())
        if table is None:
            return {}
        columns: list[list[Any]] = [table[name].to_pylist() for name in _COLUMNS]
        return {
            name: _Kept((size, changed, inode), *others)
            for name, size, changed, inode, *others in zip(*columns, strict=True)
        }


def _to_bytes(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return sink.getvalue().to_pybytes()
