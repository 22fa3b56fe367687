"""A table kept in a file, which may be removed at any time: what it holds can be made again."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from results.json_values import digest_of
from results.record import Record
from results.writing import write_atomically


def read_table(path: Path, columns: Sequence[str]) -> pa.Table | None:
    """The table as it was written; None where the file is not there, is damaged, or of an earlier version."""
    try:
        file = parquet.ParquetFile(pa.BufferReader(path.read_bytes()), page_checksum_verification=True)
        table = file.read(use_threads=False)
        return table if table.schema.metadata[b"form"] == _form(columns) else None
    except (OSError, pa.ArrowException, KeyError, TypeError):
        return None


def write_table(root: Path, path: Path, table: pa.Table) -> None:
    """Write the table where the store can be written, and is no submission, which has its own files only.

    Of several writers the last one wins.
    """
    if (root / "submission.json").exists():
        return
    sink = pa.BufferOutputStream()
    table = table.replace_schema_metadata({b"form": _form(table.column_names)})
    parquet.write_table(table, sink, compression="zstd", write_page_checksum=True)
    with suppress(OSError):  # a store that only others may write
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, sink.getvalue().to_pybytes())


def _form(columns: Sequence[str]) -> bytes:
    """What changes with the columns and the fields of a record."""
    return digest_of([list(columns), Record.model_json_schema()]).encode()
