"""The store of records: one JSON file each, with the rows of its documents beside it in Parquet.

    <root>/records/<first two hex digits>/<digest of the key>.json
    <root>/records/<first two hex digits>/<digest of the key>.parquet

A record is there when its JSON file is there. It is never rewritten. It holds the digest of its rows. Where
rows of another writer, who was killed or is slower, have the name already, its own lie in
`<digest of the key>-<12 digits of the rows' digest>.parquet`, so that no writer waits for another and no file
system needs locks.
"""

import hashlib
import io
import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
from pyarrow import parquet

from results.aggregation import aggregate, document_columns
from results.errors import InputError
from results.json_values import digest_of
from results.reading import read_json
from results.record import Record, RecordKey
from results.record_index import record_values
from results.shared_items import ITEM
from results.validation import validated
from results.writing import write_once

if TYPE_CHECKING:  # pandas takes longer to import than most stores to read
    import pandas as pd

DOCUMENT_KEY = ("lm_eval_task", "doc_id")
_ADVICE = "remove it and score again"
_Rows = TypeVar("_Rows")


class Store:
    """Records under one folder. Any number of processes may read and write it at the same time.

    Args:
        root: the folder; it is made by the first write.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def find(self, key: RecordKey) -> Record | None:
        """The record of this key, or None.

        Raises:
            InputError: its file is broken.
        """
        path = self.path(key.digest)
        return _read(path) if path.exists() else None

    def holds(self, digest: str) -> bool:
        """Return whether there is a record whose key has this digest, without reading it."""
        return self.path(digest).exists()

    def get(self, digest: str) -> Record:
        """The record whose key has this digest.

        Raises:
            InputError: there is none, or its file is broken.
        """
        return self.read(digest)[0]

    def read(self, digest: str) -> tuple[Record, str]:
        """The record whose key has this digest, and the sha256 of the file of its rows.

        Raises:
            InputError: there is none, or its file is broken.
        """
        path = self.path(digest)
        if not path.exists():
            raise InputError(f"{path}: there is no such record; score again, or give the store that has it")
        return _read_with_rows(path)

    def write(self, record: Record, documents: "pd.DataFrame") -> Record:
        """Keep a record, unless there is one of the same key: the first writer wins.

        Args:
            record: what to keep.
            documents: one row per document with `lm_eval_task`, `doc_id`, `score` (the primary metric),
                `item` where there are several lm-eval tasks, and any other columns. The mean over lm-eval
                tasks of their mean scores is the record's value.

        Returns:
            The record that the store holds: `record`, or the one that was there before.

        Raises:
            InputError: a number is not finite, or the documents do not fit the record.
        """
        _check(record, documents)
        path = self.path(record.key.digest)
        if path.exists():
            return _read(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        table = _to_parquet(documents)
        digest = hashlib.sha256(table).hexdigest()
        content = {"record": record.model_dump(mode="json"), "documents": digest}
        text = json.dumps(
            {**content, "digest": digest_of(content)}, sort_keys=True, indent=2, allow_nan=False
        )
        rows, made = _keep_rows(path, table, digest)
        try:
            is_ours = write_once(path, f"{text}\n".encode())
        except BaseException:
            if made:
                rows.unlink(missing_ok=True)
            raise
        if is_ours:
            if not rows.exists():  # another writer of the same rows failed, and removed them
                write_once(rows, table)
            return record
        if made and _read_content(path)["documents"] != digest:
            rows.unlink(missing_ok=True)
        return _read(path)

    def documents(self, record: Record, columns: Sequence[str] | None = None) -> "pd.DataFrame":
        """The rows of a record's documents.

        Args:
            record: a record of this store.
            columns: which columns to read; all of them by default. `item` is left out where the rows do not
                have it, since each document is an item of its own.

        Raises:
            InputError: the store does not have the record, or its rows are not those it was written with.
        """
        return self._rows(record, columns, pa.Table.to_pandas)

    def rows(self, record: Record, columns: Sequence[str] | None = None) -> pa.Table:
        """What `documents` gives, as an Arrow table, which takes a tenth of the time."""
        return self._rows(record, columns, lambda table: table)

    def _rows(
        self, record: Record, columns: Sequence[str] | None, convert: Callable[[pa.Table], _Rows]
    ) -> _Rows:
        path = self.path(record.key.digest)
        if not path.exists():
            raise InputError(f"{path}: there is no such record; score again, or give the store that has it")
        expected = _read_content(path)["documents"]
        table, content = rows_of(path, expected)
        if content is None:
            raise InputError(
                f"{table}: not the rows its record was written with; remove {path} and score again"
            )
        try:
            file = parquet.ParquetFile(pa.BufferReader(content))
            there = file.schema_arrow.names
            wanted = [name for name in columns or there if name != ITEM or name in there]
            return convert(file.read(columns=wanted, use_threads=False).select(wanted))
        except Exception as error:
            # Arrow and pandas raise whatever comes to them about a file that neither of them has written.
            reason = " ".join(str(error).split())[:100]
            raise InputError(
                f"{table}: no Parquet with its record's documents ({reason}); remove {path} and score again"
            ) from None

    def records(self) -> Iterator[Record]:
        """Every record, in the order of the digests.

        Raises:
            InputError: a file is broken; the message names it.
        """
        for path in sorted(self.root.glob("records/??/[0-9a-f]*.json")):
            yield _read(path)

    def path(self, digest: str) -> Path:
        """The file of the record whose key has this digest."""
        return self.root / "records" / digest[:2] / f"{digest}.json"


def rows_of(path: Path, digest: str) -> tuple[Path, bytes | None]:
    """The file of a record's rows, and its content; None where no file has rows of this digest.

    Args:
        path: the record's file.
        digest: sha256 of the rows, as the record's file tells it.
    """
    plain, own = path.with_suffix(".parquet"), path.with_name(f"{path.stem}-{digest[:12]}.parquet")
    for table in (plain, own):
        content = table.read_bytes() if table.is_file() else b""
        if hashlib.sha256(content).hexdigest() == digest:
            return table, content
    return plain, None


def _keep_rows(path: Path, table: bytes, digest: str) -> tuple[Path, bool]:
    """Write a record's rows, unless they are there; return their file, and whether it was made here."""
    plain = path.with_suffix(".parquet")
    if write_once(plain, table):
        return plain, True
    held, content = rows_of(path, digest)
    if content is not None:
        return held, False
    own = path.with_name(f"{path.stem}-{digest[:12]}.parquet")
    return own, write_once(own, table)


def problems(record: Record, documents: "pd.DataFrame") -> Iterator[str]:
    """What is wrong with a record and its documents. After the first problem nothing else is to be trusted.

    Args:
        record: of a benchmark.
        documents: one row for each, with at least the columns that `Store.write` needs.
    """
    from pandas.api.types import is_integer_dtype, is_numeric_dtype, is_string_dtype

    for name, number in {record.metric: record.value, "seconds": record.seconds, **record.metrics}.items():
        if not math.isfinite(number):
            yield f"{name} is {number}; a record holds finite numbers only"
    numbers = dict.fromkeys(("score", *document_columns(record.metric)))
    for name in (*DOCUMENT_KEY, *numbers):
        if list(documents.columns).count(name) != 1:
            yield f"its documents have no column {name}, or several"
    if not is_string_dtype(documents["lm_eval_task"]) or not is_integer_dtype(documents["doc_id"]):
        yield "its documents have other names than a text in lm_eval_task and a whole number in doc_id"
    for name in numbers:
        if not is_numeric_dtype(documents[name]):
            yield f"its documents have no numbers in the column {name}"
        if documents[name].isna().any():
            yield f"a document has no {name}"
    yield from _problems_of_items(documents)
    if len(documents) != record.n or record.n == 0:
        yield f"the record counts {record.n} documents and {len(documents)} were given"
    if documents.duplicated(list(DOCUMENT_KEY)).any():
        yield "a document was given twice; lm_eval_task and doc_id name it"
    score = aggregate(record.metric, documents)
    if not math.isclose(score, record.value, rel_tol=1e-6, abs_tol=1e-6):
        yield f"{record.metric} is {record.value}, but its documents give {score:.6g}"


def _problems_of_items(documents: "pd.DataFrame") -> Iterator[str]:
    from pandas.api.types import is_string_dtype

    if ITEM not in documents:
        if documents["lm_eval_task"].nunique() > 1:
            yield "its documents of several lm-eval tasks have no column item: which are one question?"
    elif not is_string_dtype(documents[ITEM]) or documents[ITEM].isna().any():
        yield "of a document, item is no text"


def store_root(argument: Path | None = None) -> Path:
    """Where the store is: the argument, else MANYSHOT_STORE, else ./manyshot-results.

    Raises:
        InputError: there is something else than a folder.
    """
    root = Path(argument or os.environ.get("MANYSHOT_STORE") or "manyshot-results")
    if os.path.lexists(root) and not root.is_dir():
        raise InputError(f"The store {root} is not a folder: name another with --store.")
    return root


def load_results(store: Path | None = None) -> "pd.DataFrame":
    """Every record of a store as a table, one row per record.

    Args:
        store: its folder; else MANYSHOT_STORE, else ./manyshot-results.

    Returns:
        Columns: checkpoint (the name it was scored under), digest (the checkpoint's), benchmark, metric,
        value, n, seconds, one column per setting (engine, dtype, limit, …), metrics (a dict), created,
        record (the record's digest). Empty, with these columns, where the store has no records.

    Raises:
        InputError: the folder does not exist, or a record is broken.
    """
    root = store_root(store)
    if not root.is_dir():
        raise InputError(f"{root}: no such store; give its folder, or set MANYSHOT_STORE")
    before = ["checkpoint", "digest", "benchmark", "metric", "value", "n", "seconds", "engine"]
    after = ["metrics", "created", "record"]
    import pandas as pd

    rows = []
    for record in record_values(root, _read):
        key = record["key"]
        fixed = {
            "checkpoint": record["name"],
            "digest": digest_of([key["checkpoint"][part] for part in ("weights", "config", "tokenizer")]),
            "benchmark": key["benchmark"],
            "metric": record["metric"],
            "value": record["value"],
            "n": record["n"],
            "seconds": record["seconds"],
            "metrics": record["metrics"],
            "created": record["created"],
            "record": digest_of(key),
        }
        rows.append({**key["settings"], **fixed})
    settings = sorted({name for row in rows for name in row} - {*before, *after})
    return pd.DataFrame(rows, columns=[*before, *settings, *after])


def _read_content(path: Path) -> dict[str, Any]:
    content = read_json(path, _ADVICE)
    is_whole = isinstance(content, dict) and content.keys() == {"record", "documents", "digest"}
    if not is_whole or content.pop("digest") != digest_of(content):
        raise InputError(f"{path}: broken or edited, not what was written; {_ADVICE}.")
    return dict(content)


def _read(path: Path) -> Record:
    return _read_with_rows(path)[0]


def _read_with_rows(path: Path) -> tuple[Record, str]:
    content = _read_content(path)
    record = validated(Record, content["record"], str(path), _ADVICE)
    if record.key.digest != path.stem:
        raise InputError(f"{path}: holds the record {record.key.digest}; give the file its own name back")
    return record, content["documents"]


def _check(record: Record, documents: "pd.DataFrame") -> None:
    for problem in problems(record, documents):
        raise InputError(f"benchmark {record.key.benchmark} of {record.name}: {problem}")


def _to_parquet(documents: "pd.DataFrame") -> bytes:
    storable = documents.copy()
    for name in storable.columns:
        try:
            pa.array(storable[name], from_pandas=True)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
            # Values of several types have no Arrow type; a scored document must not be lost over it.
            storable[name] = [json.dumps(value, default=str) for value in storable[name]]
    content = io.BytesIO()
    storable.to_parquet(content, index=False)
    return content.getvalue()
