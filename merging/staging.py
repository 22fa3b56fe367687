"""A folder that appears under its name only when it is complete."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from merging.checkpoints.when_used import torch
from results.errors import InputError
from results.validation import legible

logger = logging.getLogger("manyshot.merging")
_KEY_LENGTH = 16
SAVES = "saves"
"""In the folder of a training, while it lasts: the folder of its saves."""


def refuse_existing(out: Path) -> None:
    """Raise InputError where something is at `out` already, or a file is where its parent should be.

    Nothing is ever overwritten.
    """
    with _refusing_what_cannot_be_made(out):
        if "\0" in str(out):
            raise ValueError("its name has a null byte")
        if out.exists() or out.is_symlink():
            raise InputError(f"{out} exists already; name another folder or remove it first.")
        for parent in out.absolute().parents:
            if parent.exists() and not parent.is_dir():
                raise NotADirectoryError(f"{parent} is a file")


@contextmanager
def resumable(out: Path, key: str) -> Iterator[Path]:
    """Give a hidden folder beside `out`, renamed to `out` when the block ends well.

    It is kept when the process is stopped, the system fails it (OSError) or memory runs out, and given again,
    with what it holds, when the same key is asked for. On any other error it is removed. So is a folder of
    another key that a killed process left for the same `out`: its owner held a lock on it, which the system
    gave back. (A process id would not do: it says nothing across containers that share a disk.) While another
    process works with the same key, this one waits for it.

    Args:
        out: the folder to be made.
        key: hexadecimal digest of all that decides what the folder will hold.

    Raises:
        InputError: `out` exists, before or after the block, or cannot be made.
    """
    out, folder = out.absolute(), partial_folder(out, key)
    with _held(out, folder):
        try:
            yield folder
            _appear(folder, out)
        except (KeyboardInterrupt, SystemExit, OSError, MemoryError):
            raise
        except BaseException as error:
            if "torch" in sys.modules and isinstance(error, torch.OutOfMemoryError):
                raise
            shutil.rmtree(folder, ignore_errors=True)
            raise


def partial_folder(out: Path, key: str) -> Path:
    """Return the folder that `resumable` gives, for other processes that work in it."""
    out = out.absolute()
    return out.parent / f".{out.name}.{key[:_KEY_LENGTH]}.partial"


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
    # The safetensors library makes files that only their owner reads; others are as the umask says.
    usual = (folder.stat().st_mode & 0o666) | 0o200
    for path in folder.glob("*.safetensors"):
        path.chmod(usual)
    try:
        folder.rename(out)
    except OSError:
        refuse_existing(out)  # somebody else's came in between
        raise


@contextmanager
def _refusing_what_cannot_be_made(out: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{legible(out)} cannot be made ({reason}); name another folder.") from error


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
    made = re.compile(rf"\.{re.escape(out.name)}\.[0-9a-f]{{{_KEY_LENGTH}}}\.partial")
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
