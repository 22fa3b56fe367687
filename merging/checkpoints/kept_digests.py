"""Digests of tensors, kept with what tells whether their files have changed: large weights are hashed once.

    <folder>/<first two hex digits>/<digest of the files' signatures>.json

A file's signature is its path, size, inode, and the times of change of its content and of its entry. Copies,
links and files that were written again are hashed again. So is whatever changed in the last two seconds:
clocks of file systems tick too slowly to tell two changes apart.
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
from results.errors import InputError
from results.reading import read_json
from results.writing import write_atomically

if TYPE_CHECKING:
    from merging.checkpoints.checkpoint import Stored

_SETTLED_SECONDS = 2.0
_Signature = list[list[str | int]]


@dataclass(frozen=True)
class _Keeping:
    folder: Path
    verify: bool


_keeping: ContextVar[_Keeping | None] = ContextVar("keeping", default=None)


@contextmanager
def keeping_digests(folder: Path, *, verify: bool = False) -> Iterator[None]:
    """Take the digests of checkpoints from a folder and keep them there, inside of the block.

    Args:
        folder: made when first needed.
        verify: hash everything again, and keep what that gives.
    """
    token = _keeping.set(_Keeping(folder, verify))
    try:
        yield
    finally:
        _keeping.reset(token)


class TensorDigests:
    """The digests of the tensors in a checkpoint's files: those that were kept, and those that are made now.

    Files are looked at when they are opened, and again when all is hashed: what changed between is not kept.
    """

    def __init__(self, folder: Path, files: Sequence[str]) -> None:
        self._folder, self._files = folder, files
        self._keeping = _keeping.get()
        self._signature = self._signed()
        self._kept = self._find()
        self._digests = dict(self._kept)

    def add(self, tensors: Iterable[Stored]) -> None:
        """Hash the tensors that have no digest yet."""
        for stored in tensors:
            if stored.info.name not in self._digests:
                self._digests[stored.info.name] = tensor_digest(stored.raw)

    def of(self, tensors: Sequence[Stored]) -> dict[str, str]:
        """Return the digests of all tensors, by name; what is missing is hashed on all cores, and kept."""
        rest = [stored for stored in tensors if stored.info.name not in self._digests]
        if rest:
            with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
                # The largest first, so that no thread is left alone with one at the end.
                for _ in threads.map(self.add, [[s] for s in sorted(rest, key=lambda s: -s.info.nbytes)]):
                    pass
        if self._digests.keys() != self._kept.keys():
            self._keep()
        return self._digests

    def _signed(self) -> _Signature:
        """What tells whether the files have changed."""
        if self._keeping is None:
            return []
        signature: _Signature = []
        for name in sorted(self._files):
            path = (self._folder / name).resolve()
            status = path.stat()
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
        """Keep the digests, unless the files changed since they were opened, or just before."""
        if self._keeping is None or not self._signature:
            return
        with suppress(OSError):  # a full disk or a folder of others costs time, and no result
            if self._signature != self._signed():
                return
            changed = max(int(time_ns) for line in self._signature for time_ns in line[3:])
            if time.time() - changed / 1e9 < _SETTLED_SECONDS:
                return
            file = self._file(self._keeping)
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(file, json.dumps({"files": self._signature, "tensors": self._digests}).encode())

    def _file(self, keeping: _Keeping) -> Path:
        name = hashlib.sha256(json.dumps(self._signature).encode()).hexdigest()
        return keeping.folder / name[:2] / f"{name}.json"
