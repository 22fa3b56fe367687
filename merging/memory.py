"""How much memory a piece of work takes."""

import ctypes
import re
import threading
from pathlib import Path

_STATUS = Path("/proc/self/status")
_SECONDS = 0.01


class AddedMemory:
    """Watches, as a context, how much this process's memory grows.

    Files that are mapped, such as checkpoints, are not counted, nor is a device's own memory. What earlier
    work has freed is given back to the system first where the C library can (glibc); the work would otherwise
    take it up again, and seem to take nothing.

    Attributes:
        bytes: most that was held above what was held at the beginning, looked at every hundredth of a second;
            None where the system does not tell, which Linux does.
    """

    def __init__(self) -> None:
        self.bytes: int | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "AddedMemory":
        _give_back_free()
        self._before = _anonymous_bytes()
        if self._before is not None:
            self._look()
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._before is not None:
            self._over.set()
            self._thread.join()
            self._look()

    def _watch(self) -> None:
        while not self._over.wait(_SECONDS):
            self._look()

    def _look(self) -> None:
        held = _anonymous_bytes()
        if held is not None and self._before is not None:
            self.bytes = max(self.bytes or 0, held - self._before)


def _give_back_free() -> None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))


def _anonymous_bytes() -> int | None:
    """Bytes of this process's memory that no file stands behind."""
    if not _STATUS.exists():
        return None
    found = re.search(r"^RssAnon:\s+(\d+) kB$", _STATUS.read_text(encoding="ascii"), re.MULTILINE)
    return int(found[1]) * 1024 if found else None
