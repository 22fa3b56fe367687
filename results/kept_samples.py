"""What was chosen to show of a run's documents, in one file, so that it is not chosen again each time.

`<store>/compared/<run>.samples.parquet` holds samples by the digests of the two files of rows that they were
chosen from. The file may be removed at any time.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict

import pyarrow as pa
from pydantic_core import from_json

from results.kept_rows import FOLDER
from results.kept_table import read_table, write_table
from results.samples import LONGEST, MOST_SAMPLES, DifferingDocument
from results.store import Store

LEAST_NEW = 100
"""So many pairs that the file lacks make it worth to write it again."""
_COLUMNS = ("merged", "expert", f"{MOST_SAMPLES} samples of {LONGEST} characters")
Samples = tuple[DifferingDocument, ...]


class KeptSamples:
    """The samples of a run.

    Args:
        store: that has the run.
        run: its name.
    """

    def __init__(self, store: Store, run: str) -> None:
        self._root, self._path = store.root, store.root / FOLDER / f"{run}.samples.parquet"
        table = read_table(self._path, _COLUMNS)
        merged, expert, texts = ([], [], []) if table is None else (table[c].to_pylist() for c in _COLUMNS)
        self._before: dict[tuple[str, str], str] = dict(
            zip(zip(merged, expert, strict=True), texts, strict=True)
        )
        self._now: dict[tuple[str, str], str] = {}

    def samples(self, rows: tuple[str, str], choose: Callable[[], Iterable[DifferingDocument]]) -> Samples:
        """Samples of two records.

        Args:
            rows: digests of the files of rows, of the merged checkpoint and of the expert.
            choose: makes them, where they are not kept.
        """
        if rows not in self._before:
            chosen = tuple(choose())
            self._now[rows] = json.dumps([asdict(one) for one in chosen])
            return chosen
        self._now[rows] = self._before[rows]
        return tuple(
            DifferingDocument(**{**one, "outputs": tuple(one["outputs"]), "scores": tuple(one["scores"])})
            for one in from_json(self._now[rows])
        )

    def save(self) -> None:
        """Write the file, where it lacks many of them."""
        if len(self._now.keys() - self._before.keys()) >= LEAST_NEW:
            columns = [*zip(*self._now, strict=True), list(self._now.values())]
            table = pa.Table.from_arrays([pa.array(column) for column in columns], list(_COLUMNS))
            write_table(self._root, self._path, table)
