"""Writing a file so that nobody ever sees half of it, and one at a time."""

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from results.errors import InputError

_ABANDONED_SECONDS = 3600
"""No process takes as long to write one file."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a file's lock. The kernel releases it when the process ends, however it ends.

    Raises:
        InputError: something else than a file lies there, such as a pipe, which would never open.
    """
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is no regular file; remove it.")
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Give an error of writing, such as that the disk is full, the name of the file."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def write_atomically(path: Path, content: bytes) -> None:
    """Write to a hidden temporary name in the same folder, then rename over `path`.

    A process killed on the way leaves the hidden file and not `path`; whoever writes into the folder an hour
    later removes it.

    Raises:
        OSError: names the file, where the disk is full, for example.
    """
    for part in path.parent.glob(".*.part"):
        with suppress(OSError):  # another process may have removed it
            if time.time() - part.lstat().st_mtime > _ABANDONED_SECONDS:
                part.unlink()
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=".part", dir=path.parent)
    temporary = Path(name)
    try:
        with naming(path), os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp lets nobody else read; a result is as readable as any other new file.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        with naming(path):
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
