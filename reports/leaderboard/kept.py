"""What runs bring to the leaderboard, kept in the store: only runs that changed are compared again.

`<store>/compared/<run>.board` holds what the page shows of a run's entries, with their resamples for ranks.
It was made of the run's manifest, of the files of its records (their sizes, times of change and inodes) and
of the code, and counts as long as all of these are the same. `<store>/compared/.ranks` holds the ranks of the
leagues of the last leaderboard. Any of the files may be removed at any time.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from functools import cache, cached_property, partial
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import numpy as np
import pyarrow as pa
from pydantic import TypeAdapter
from pydantic_core import from_json

from reports.leaderboard.shown import ShownEntry
from results.errors import InputError
from results.intervals import Draws
from results.json_values import digest_of
from results.kept_table import FOLDER, read_table, write_table
from results.leaderboard import ranks_of
from results.leagues import ComparisonKey
from results.ranked import Measured, Source
from results.record_index import signature_of
from results.store import Store

_COLUMNS = ("key", "entries", "details", "draws")
_WITHOUT_DRAWS = _COLUMNS[:3]
_RANKS = ("measured", "ranks")
_KEY = TypeAdapter(ComparisonKey)
_LIBRARIES = ("numpy", "scipy", "pandas", "pyarrow", "matplotlib")
Run = tuple[ComparisonKey, Sequence[ShownEntry]]


class KeptRuns:
    """Reads what runs bring to the leaderboard.

    Args:
        watch: is told of every run before it is compared.
    """

    def __init__(self, watch: Callable[[str], object] = lambda _: None) -> None:
        self._watch = watch

    def read(self, store: Store, name: str) -> Run:
        """What a run brings; it is compared, and that is kept, where it or the code has changed.

        Raises:
            InputError: as `read_run` does.
        """
        path, made_of = store.root / FOLDER / f"{name}.board", _made_of(store, name)
        table = None if made_of is None else read_table(path, _COLUMNS, made_of, _WITHOUT_DRAWS)
        if table is not None:
            read_draws = partial(read_table, path, _COLUMNS, made_of, ["draws"])
            compare = partial(self._compare, store, name, path, made_of)
            return _unpacked(table, Source(str(store.root), name), read_draws, compare)
        return self._compare(store, name, path, made_of)

    def _compare(self, store: Store, name: str, path: Path, made_of: str | None) -> Run:
        """Compare a run, and keep what it brings."""
        from reports.leaderboard.model import shown_entries
        from results.run_entries import read_run

        self._watch(f"{store.root}: {name}")
        key, entries = read_run(store, name)
        run = key, shown_entries(entries)
        if made_of is not None and made_of == _made_of(store, name):  # and not another run by now
            write_table(store.root, path, _packed(*run), made_of)
        return run


class KeptRanks:
    """Ranks entries of a league, unless the same ones were ranked before.

    Args:
        root: the store in which ranks are kept.
    """

    def __init__(self, root: Path) -> None:
        self._root, self._path = root, root / FOLDER / ".ranks"
        table = read_table(self._path, _RANKS, code_digest())
        columns = ((), ()) if table is None else (table[name].to_pylist() for name in _RANKS)
        self._before: dict[str, list[int]] = dict(zip(*columns, strict=True))
        self._now: dict[str, list[int]] = {}

    def rank(self, measured: Sequence[Measured]) -> list[int]:
        """What `ranks_of` gives."""
        key = digest_of([one.digest for one in measured])
        self._now[key] = self._before[key] if key in self._before else ranks_of(measured)
        return self._now[key]

    def save(self) -> None:
        """Write the file, where it has other ranks."""
        if self._now != self._before:
            arrays = [pa.array(list(self._now)), pa.array(list(self._now.values()), pa.list_(pa.int64()))]
            write_table(self._root, self._path, pa.Table.from_arrays(arrays, list(_RANKS)), code_digest())


class _Resamples:
    """The resamples of a run's entries, read when one of them is asked for.

    Args:
        read: the column of them; None where it is damaged, or the run has been kept anew.
        digests: of what they are of, in the order of the column.
        compare: the run again, where they cannot be read.
    """

    def __init__(
        self, read: Callable[[], pa.Table | None], digests: Sequence[str], compare: Callable[[], Run]
    ) -> None:
        self._read, self._digests, self._compare = read, digests, compare

    def get(self, digest: str) -> Draws:
        """Resamples of a statistic.

        Raises:
            InputError: the run has others now.
        """
        if digest not in self._by_digest:
            raise InputError("a run has changed while the leaderboard was made; make it again")
        return self._by_digest[digest]

    @cached_property
    def _by_digest(self) -> dict[str, Draws]:
        table = self._read()
        if table is None:
            numbers = [one for entry in self._compare()[1] for one in entry.numbers.values()]
            return {one.digest: one.draws() for one in numbers}
        draws = np.frombuffer(table["draws"][0].as_py()).reshape(len(self._digests), -1)
        return dict(zip(self._digests, draws, strict=True))


def _packed(key: ComparisonKey, entries: Sequence[ShownEntry]) -> pa.Table:
    numbers = [one for entry in entries for one in entry.numbers.values()]
    told = [
        {
            "id": entry.id,
            "role": entry.role,
            "experts": entry.experts,
            "row": entry.row,
            "numbers": {
                name: [one.value, list(one.seeds.items()), one.digest] for name, one in entry.numbers.items()
            },
        }
        for entry in entries
    ]
    draws = b"".join(one.draws().tobytes() for one in numbers)
    content = (_KEY.dump_json(key), json.dumps(told).encode(), entries[0].details, draws)
    return pa.Table.from_arrays([pa.array([part], pa.large_binary()) for part in content], list(_COLUMNS))


def _unpacked(
    table: pa.Table, source: Source, read: Callable[[], pa.Table | None], compare: Callable[[], Run]
) -> Run:
    key, told, details = (table[column][0].as_py() for column in _WITHOUT_DRAWS)
    entries = from_json(told)
    digests = [digest for one in entries for _, _, digest in one["numbers"].values()]
    resamples = _Resamples(read, digests, compare)
    return _KEY.validate_json(key), [
        ShownEntry(
            id=one["id"],
            role=one["role"],
            experts=one["experts"],
            source=source,
            row=one["row"],
            details=details,
            numbers={
                name: Measured(value, dict(seeds), digest, partial(resamples.get, digest))
                for name, (value, seeds, digest) in one["numbers"].items()
            },
        )
        for one in entries
    ]


def _made_of(store: Store, name: str) -> str | None:
    """A digest of all that a run's entries are made of; None where that cannot be told.

    Of the rows of documents it has what the records say of them, not their files.
    """
    try:
        manifest = (store.root / "runs" / f"{name}.json").read_bytes()
        digests = {digest for one in from_json(manifest)["entries"] for digest in one["records"].values()}
        signatures = [[digest, *signature_of(store.path(digest).stat())] for digest in sorted(digests)]
        return digest_of([code_digest(), hashlib.sha256(manifest).hexdigest(), signatures])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # then comparing says what is wrong
        return None


@cache
def code_digest() -> str:
    """A digest of the code that compares and draws, and of the libraries that it does it with.

    Taken once, at best as the process starts: files may be others by the time that it compares.
    """
    reports = files("reports")
    folders = (files("results"), reports, reports / "figures", reports / "leaderboard")
    sources = [file for folder in folders for file in folder.iterdir() if file.name.endswith(".py")]
    texts = [file.read_text(encoding="utf-8") for file in sorted(sources, key=str)]
    return digest_of([sys.version, [version(name) for name in _LIBRARIES], texts])
