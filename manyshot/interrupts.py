"""How a command stops when it is told to: by Ctrl-C or by SIGTERM, with what is done kept."""

import os
import signal
import sys
from collections.abc import Callable
from threading import Timer
from types import FrameType
from typing import Any

STOPPED = "manyshot: interrupted; start again to go on from what is kept\n"
_AGAIN_SECONDS = 0.05


class Terminated(KeyboardInterrupt):
    """SIGTERM, which stops as Ctrl-C does."""


def stop_on_signals() -> None:
    """Raise `KeyboardInterrupt` in the main thread on Ctrl-C, and `Terminated`, one too, on SIGTERM.

    Python drops what is raised while it frees an object or calls back from C; there the signal is sent again.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    if not isinstance(sys.unraisablehook, _RaiseLater):
        sys.unraisablehook = _RaiseLater(sys.unraisablehook)


def exit_code(interruption: KeyboardInterrupt) -> int:
    """Return the code of a process that a signal ended: 130 or 143."""
    return 128 + _signal_of(interruption)


def _signal_of(interruption: KeyboardInterrupt) -> int:
    return signal.SIGTERM if isinstance(interruption, Terminated) else signal.SIGINT


def _stop(number: int, frame: FrameType | None) -> None:
    """Stop as on Ctrl-C; at once amid an import, where nothing is at stake.

    Extension modules answer an exception during their import with tracebacks of their own.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            os.write(2, STOPPED.encode())
            os._exit(128 + number)
        frame = frame.f_back
    raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


class _RaiseLater:
    """Sends a signal again whose exception was dropped, and leaves other exceptions to the hook before."""

    def __init__(self, before: Callable[[Any], object]) -> None:
        self._before = before

    def __call__(self, dropped: Any) -> None:
        if not isinstance(dropped.exc_value, KeyboardInterrupt):
            self._before(dropped)
            return
        again = Timer(_AGAIN_SECONDS, os.kill, (os.getpid(), _signal_of(dropped.exc_value)))
        again.daemon = True
        again.start()
