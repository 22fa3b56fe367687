"""torch, imported when something of it is first used: that takes longer than a small merge.

    from __future__ import annotations

    from merging.checkpoints.when_used import torch

So say the modules that a merge by compiled loops imports, which needs nothing of torch; elsewhere
`import torch` is right. Annotations must stay unread (the first line), and nothing of torch may be asked for
outside of functions. What must follow torch's import is given to `when_imported`.
"""

import sys
import threading
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

_lock = threading.RLock()
_waiting: list[Callable[[], None]] = []


class _WhenUsed(ModuleType):
    def __getattr__(self, name: str) -> Any:
        return getattr(_imported(self.__name__), name)


def _imported(name: str) -> ModuleType:
    with _lock:
        module = import_module(name)
        while _waiting:
            _waiting.pop()()
    return module


def when_imported(work: Callable[[], None]) -> None:
    """Do something now where torch is imported, else as soon as a module here imports it."""
    with _lock:
        if "torch" in sys.modules:
            work()
        else:
            _waiting.append(work)


def no_longer(work: Callable[[], None]) -> None:
    """Forget what `when_imported` was given, where it still waits."""
    with _lock:
        if work in _waiting:
            _waiting.remove(work)


if TYPE_CHECKING:
    import torch
else:
    torch = _WhenUsed("torch")
