"""A table kept in a file, which may be removed at any time: what it holds can be made again."""

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from results.json_values import digest_of
from results.writing import write_atomically

FOLDER = "compared"
"""Of a store, where tables of its runs are kept."""
SUBMISSION = "submission.json"
"""The file that makes a folder a submission, which has its own files only: no table is kept in it."""


def read_table(
    path: Path, columns: Sequence[str], made_of: object, wanted: Sequence[str] | None = None
) -> pa.Table | None:
    """The table as it was written; None where it is not there, is damaged, or was made of something else.

    Args:
        path: its file.
        columns: all that it has.
        made_of: a JSON value that is another one where the table would be.
        wanted: the columns to read, all by default.
    """
    try:
        with parquet.ParquetFile(path, page_checksum_verification=True) as file:
            metadata = file.schema_arrow.metadata
            if metadata[b"form"] != _form(columns, made_of):
                return None
            table = file.read(columns=wanted, use_threads=False)
            rows, kinds = json.loads(metadata[b"layout"])
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError):
        return None
    # Pages have checksums, which rows and which columns of which kinds there are has none.
    there = table.num_rows, _kinds(table)
    return table if there == (rows, {name: kinds.get(name) for name in wanted or columns}) else None


def write_table(root: Path, path: Path, table: pa.Table, made_of: object) -> None:
    """Write the table where the store can be written, and is no submission.

    Of several writers the last one wins.
    """
    if (root / SUBMISSION).exists():
        return
    sink = pa.BufferOutputStream()
    table = table.replace_schema_metadata(
        {
            b"form": _form(table.column_names, made_of),
            b"layout": json.dumps([table.num_rows, _kinds(table)]).encode(),
        }
    )
    parquet.write_table(table, sink, compression="zstd", write_page_checksum=True)
    with suppress(OSError):  # a store that only others may write
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, sink.getvalue().to_pybytes())


def _kinds(table: pa.Table) -> dict[str, list[Any]]:
    """By column the number of its type, and of those in it."""

    def numbers(kind: pa.DataType) -> list[Any]:
        return [kind.id, *(numbers(kind.field(place).type) for place in range(kind.num_fields))]

    return {field.name: numbers(field.type) for field in table.schema}


def _form(columns: Sequence[str], made_of: object) -> bytes:
    return digest_of([list(columns), made_of]).encode()
