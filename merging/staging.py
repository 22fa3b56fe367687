"""A folder that appears under its name only when it is complete."""

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from results.errors import InputError


def refuse_existing(out: Path) -> None:
    """Raise InputError where something is at `out` already, or a file is where its parent should be.

    Nothing is ever overwritten.
    """
    with _refusing_what_cannot_be_made(out):
        if out.exists() or out.is_symlink():
            raise InputError(f"{out} exists already; name another folder or remove it first.")
        for parent in out.absolute().parents:
            if parent.exists() and not parent.is_dir():
                raise NotADirectoryError(f"{parent} is a file")


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """Give a hidden folder beside `out` that is renamed to `out` when the block ends well.

    On any error the hidden folder is removed. One left behind by a killed process is removed by the next call
    for the same `out`: its owner held a lock on it, which the system gave back. (A process id would not do:
    it says nothing across containers that share a disk.)

    Raises:
        InputError: `out` exists, before or after the block, or cannot be made.
    """
    out = out.absolute()
    refuse_existing(out)
    with _refusing_what_cannot_be_made(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        # Locked, so that nobody finds the new folder before it is locked itself and takes it for stale.
        with _locked(out.parent):
            _remove_stale(out)
            folder = out.parent / f".{out.name}.{os.getpid()}-{secrets.token_hex(4)}.partial"
            folder.mkdir()
            lock = os.open(folder, os.O_RDONLY)
            # On a file system without locks nobody takes the folder for stale either.
            with suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        yield folder
        refuse_existing(out)
        try:
            folder.rename(out)
        except OSError:
            refuse_existing(out)  # somebody else's came in between
            raise
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        os.close(lock)


@contextmanager
def _refusing_what_cannot_be_made(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{out} cannot be made ({error.strerror or error}); name another folder.") from error


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Wait for the lock on a folder and hold it, where its file system has locks."""
    lock = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _remove_stale(out: Path) -> None:
    ours = re.compile(rf"\.{re.escape(out.name)}\.\d+-[0-9a-f]{{8}}\.partial")
    for folder in out.parent.iterdir():
        if not ours.fullmatch(folder.name) or folder.is_symlink() or not folder.is_dir():
            continue
        with suppress(FileNotFoundError):  # its owner has just finished
            lock = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            except OSError:
                pass  # its owner is alive
            finally:
                os.close(lock)
