"""Writing a file so that nobody ever sees half of it, on one machine or on a disk that many share."""

import errno
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
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
"""What a file system without hard links answers."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a file's lock, where its file system has locks. The kernel releases it when the process ends.

    Without one two processes may do the same work, of which one result stays: nothing rests on the lock.

    Raises:
        InputError: something else than a file lies there, such as a pipe, which would never open.
    """
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is no regular file; remove it.")
    with path.open("a") as file:
        with suppress(OSError):
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
    with _written(path, content) as temporary, naming(path):
        temporary.replace(path)


def write_once(path: Path, content: bytes) -> bool:
    """Write a file unless it is there: of all writers on all machines the first wins, and no lock is held.

    It is written to a hidden temporary name, which is then linked as `path`. Where a file system has no links
    it is renamed, and of two writers at the same moment the last one wins.

    Returns:
        Whether the file is the one that was written here.

    Raises:
        OSError: names the file, where the disk is full, for example.
    """
    with _written(path, content) as temporary, naming(path):
        try:
            os.link(temporary, path)
        except FileExistsError:
            # NFS asks again where an answer was lost, and then meets the link that it has made itself.
            return temporary.stat().st_nlink > 1
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if path.exists():
                return False
            temporary.replace(path)
    return True


@contextmanager
def _written(path: Path, content: bytes) -> Iterator[Path]:
    """Give a hidden file in a path's folder that holds the content on the disk, and remove it."""
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
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
