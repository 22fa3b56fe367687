"""Digests of tensors, kept with what tells whether their files have changed: large weights are hashed once.

    <folder>/<first two hex digits>/<digest of the files' signatures>.json

A file's signature is its path, size, inode, and the times of change of its content and of its entry. Copies,
links and files that were written again are hashed again. So is whatever changed in the two seconds before
it was opened: clocks of file systems tick too slowly to tell two changes apart.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from merging.checkpoints.digests import tensor_digest
from results.caches import cache_folder
from results.errors import InputError
from results.reading import read_json
from results.writing import write_atomically

if TYPE_CHECKING:
    from merging.checkpoints.checkpoint import Stored

_SETTLED_SECONDS = 2.0
_Signature = list[list[str | int]]


@dataclass(frozen=True)
class Keeping:
    """Where digests are kept, and whether all is hashed again."""

    folder: Path
    verify: bool


_keeping: ContextVar[Keeping | None] = ContextVar("keeping", default=None)


@contextmanager
def keeping_digests(folder: Path | None = None, *, verify: bool = False) -> Iterator[None]:
    """Find and keep the digests of checkpoints that are opened inside of the block.

    Args:
        folder: made when first needed; by default in the user's cache.
        verify: hash everything again, and keep what that gives.
    """
    with keeping_as(Keeping(folder or cache_folder() / "digests", verify)):
        yield


@contextmanager
def keeping_as(keeping: Keeping | None) -> Iterator[None]:
    """Keep digests inside of the block as another process does; None keeps none."""
    token = _keeping.set(keeping)
    try:
        yield
    finally:
        _keeping.reset(token)


def how_kept() -> Keeping | None:
    """Return how digests are kept here, for `keeping_as` in another process."""
    return _keeping.get()


class TensorDigests:
    """The digests of the tensors in a checkpoint's files: those that were kept, and those that are made now.

    It is made before the files are opened. What was found does not count, and nothing is kept, where the
    files are others when all digests are wanted.
    """

    def __init__(self, folder: Path, files: Sequence[str]) -> None:
        self._folder, self._files = folder, tuple(files)
        self._keeping = _keeping.get()
        self._looked = time.time()
        self._signature = self._sign()
        self._digests = self._find()
        self._found = set(self._digests)

    def hash(self, tensors: Iterable[Stored]) -> None:
        """Hash the tensors that have no digest yet."""
        for stored in tensors:
            if stored.info.name not in self._digests:
                self._digests[stored.info.name] = tensor_digest(stored.raw)

    def described(self, tensors: Sequence[Stored]) -> list[tuple[str, str, tuple[int, ...], str]]:
        """Return what `weights_digest` takes of tensors; what is missing is hashed on all cores, and kept."""
        is_unchanged = bool(self._signature) and self._sign() == self._signature
        if not is_unchanged:
            for name in self._found:
                del self._digests[name]
            self._found.clear()
        elif any(stored.info.name not in self._digests for stored in tensors):
            found = self._find()  # another that opened the same may have kept them since
            self._digests = found | self._digests
            self._found |= found.keys()
        rest = [stored for stored in tensors if stored.info.name not in self._digests]
        if rest:
            with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
                # The largest first, so that no thread is left alone with one at the end.
                for _ in threads.map(self.hash, [[s] for s in sorted(rest, key=lambda s: -s.info.nbytes)]):
                    pass
        if is_unchanged and self._found != self._digests.keys() and self._sign() == self._signature:
            self._keep()
        return [(s.info.name, s.info.dtype, s.info.shape, self._digests[s.info.name]) for s in tensors]

    def _sign(self) -> _Signature:
        """What tells whether the files have changed; empty where nothing is kept, or a file is missing."""
        if self._keeping is None:
            return []
        signature: _Signature = []
        for name in sorted(self._files):
            path = (self._folder / name).resolve()
            try:
                status = path.stat()
            except OSError:
                return []
            times = status.st_mtime_ns, status.st_ctime_ns
            signature.append([str(path), status.st_size, status.st_ino, *times])
        return signature

    def _find(self) -> dict[str, str]:
        """The digests that were kept for files of this signature, or none."""
        if self._keeping is None or self._keeping.verify or not self._signature:
            return {}
        with suppress(InputError):
            content = read_json(self._file(self._keeping), most_bytes=None)
            if isinstance(content, dict) and content.get("files") == self._signature:
                tensors = content.get("tensors")
                if isinstance(tensors, dict) and all(isinstance(digest, str) for digest in tensors.values()):
                    return tensors
        return {}

    def _keep(self) -> None:
        """Keep the digests, unless the files had changed just before they were looked at."""
        changed = max(int(time_ns) for line in self._signature for time_ns in line[3:])
        if self._keeping is None or self._looked - changed / 1e9 < _SETTLED_SECONDS:
            return
        file = self._file(self._keeping)
        with suppress(OSError):  # a full disk or a folder of others costs time, and no result
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(file, json.dumps({"files": self._signature, "tensors": self._digests}).encode())
        self._found = set(self._digests)

    def _file(self, keeping: Keeping) -> Path:
        name = hashlib.sha256(json.dumps(self._signature).encode()).hexdigest()
        return keeping.folder / name[:2] / f"{name}.json"
