"""Digests of tensors, kept with what tells whether their files have changed: large weights are hashed once.

    <folder>/<first two hex digits>/<digest of the files' signatures>.json

A file's signature is its path, size, inode, and the times of change of its content and of its entry. Copies,
links and files that were written again are hashed again. So is whatever changed in the last two seconds:
clocks of file systems tick too slowly to tell two changes apart.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from results.errors import InputError
from results.reading import read_json
from results.writing import write_atomically

_SETTLED_SECONDS = 2.0
Signature = list[list[str | int]]


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


def signature_of(folder: Path, files: Sequence[str]) -> Signature:
    """Return what tells whether files have changed; empty outside of `keeping_digests`."""
    if _keeping.get() is None:
        return []
    signature: Signature = []
    for name in sorted(files):
        path = (folder / name).resolve()
        status = path.stat()
        times = status.st_mtime_ns, status.st_ctime_ns
        signature.append([str(path), status.st_size, status.st_ino, *times])
    return signature


def find_digests(signature: Signature) -> dict[str, str]:
    """Return the digests by tensor that were kept for files of this signature, or none."""
    keeping = _keeping.get()
    if keeping is None or keeping.verify or not signature:
        return {}
    with suppress(InputError):
        content = read_json(_file(keeping.folder, signature), most_bytes=None)
        if isinstance(content, dict) and content.get("files") == signature:
            tensors = content.get("tensors")
            if isinstance(tensors, dict) and all(isinstance(digest, str) for digest in tensors.values()):
                return tensors
    return {}


def keep_digests(signature: Signature, after: Signature, tensors: Mapping[str, str]) -> None:
    """Keep digests, unless the files changed while they were hashed, or just before.

    Args:
        signature: of the files, from before they were hashed.
        after: the same from now.
        tensors: digests by tensor.
    """
    keeping = _keeping.get()
    if keeping is None or not signature or signature != after:
        return
    changed = max(int(time_ns) for line in signature for time_ns in line[3:])
    if time.time() - changed / 1e9 < _SETTLED_SECONDS:
        return
    file = _file(keeping.folder, signature)
    with suppress(OSError):  # a full disk or a folder of others costs time, and no result
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json.dumps({"files": signature, "tensors": dict(tensors)}).encode())


def _file(folder: Path, signature: Signature) -> Path:
    name = hashlib.sha256(json.dumps(signature).encode()).hexdigest()
    return folder / name[:2] / f"{name}.json"
