"""A folder that appears under its name only when it is complete."""

import fcntl
import logging
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from results.errors import InputError

logger = logging.getLogger("manyshot.merging")
_KEY_LENGTH = 16


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
    with _staged(out.absolute(), f"{os.getpid()}-{secrets.token_hex(4)}", ()) as folder:
        yield folder


@contextmanager
def resumable(out: Path, key: str) -> Iterator[Path]:
    """Give a hidden folder as `staged` does, with what a stopped process left there for the same key.

    It is kept when the process is stopped, the system fails it (OSError) or memory runs out, and removed on
    any other error.
    While another process works on the same, this one waits for it.

    Args:
        out: the folder to be made.
        key: hexadecimal digest of all that decides what the folder will hold.

    Raises:
        InputError: as for `staged`.
    """
    stops = (KeyboardInterrupt, SystemExit, OSError, MemoryError, torch.OutOfMemoryError)
    with _staged(out.absolute(), key[:_KEY_LENGTH], stops) as folder:
        yield folder


def hidden(out: Path, key: str) -> Path:
    """Return the folder that `resumable` gives, for other processes that work in it."""
    return _hidden(out.absolute(), key[:_KEY_LENGTH])


def _hidden(out: Path, name: str) -> Path:
    return out.parent / f".{out.name}.{name}.partial"


@contextmanager
def _staged(out: Path, name: str, kept_on: tuple[type[BaseException], ...]) -> Iterator[Path]:
    """Give the hidden folder of a name; on errors that are none of `kept_on` it is removed."""
    folder = _hidden(out, name)
    with _held(out, folder):
        try:
            yield folder
            _appear(folder, out)
        except kept_on:
            raise
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise


@contextmanager
def _held(out: Path, folder: Path) -> Iterator[None]:
    """Make a hidden folder and hold its lock; remove those for the same `out` that nobody holds any more."""
    refuse_existing(out)
    while (lock := _take(out, folder)) is None:
        logger.info("another process works on %s; waiting for it", out)
        with suppress(FileNotFoundError), _locked(folder):
            pass
        refuse_existing(out)
    try:
        yield
    finally:
        os.close(lock)


def _take(out: Path, folder: Path) -> int | None:
    """Make the folder where it is missing and lock it; None where another process has its lock."""
    with _refusing_what_cannot_be_made(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        # Locked, so that nobody finds the new folder before it is locked itself and takes it for stale.
        with _locked(out.parent):
            _remove_stale(out, folder)
            folder.mkdir(exist_ok=True)
            lock = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                return None
            except OSError:
                pass  # on a file system without locks nobody takes the folder for stale either
            if folder.exists() and os.path.samestat(os.fstat(lock), folder.stat()) and not out.exists():
                return lock
            os.close(lock)  # its owner has just finished
            return None


def _appear(folder: Path, out: Path) -> None:
    refuse_existing(out)
    try:
        folder.rename(out)
    except OSError:
        refuse_existing(out)  # somebody else's came in between
        raise


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


def _remove_stale(out: Path, ours: Path) -> None:
    made = re.compile(rf"\.{re.escape(out.name)}\.(\d+-[0-9a-f]{{8}}|[0-9a-f]{{{_KEY_LENGTH}}})\.partial")
    for folder in out.parent.iterdir():
        if folder == ours or not made.fullmatch(folder.name) or folder.is_symlink() or not folder.is_dir():
            continue
        with suppress(FileNotFoundError):  # its owner has just finished
            lock = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                logger.info("discarding what a stopped process left of %s: it was not of the same", out)
                shutil.rmtree(folder, ignore_errors=True)
            except OSError:
                pass  # its owner is alive
            finally:
                os.close(lock)
