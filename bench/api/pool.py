"""Calls in several threads, whose results come as they are there."""

import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any


def results_of(calls: Mapping[str, Callable[[], Any]], threads: int) -> Iterator[tuple[str, Any]]:
    """The result of each call with its key, in the order in which they are there.

    The first call that fails ends it, with its exception, after the results that are there by then; so does
    whoever stops asking. Calls that are on their way then are left to themselves, and no process waits for
    them: a server may take minutes.

    Args:
        calls: by key.
        threads: most of them at a time.
    """
    waiting: queue.SimpleQueue[tuple[str, Callable[[], Any]]] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[str, Any, BaseException | None]] = queue.SimpleQueue()
    stopped = threading.Event()

    def work() -> None:
        while not stopped.is_set():
            try:
                key, call = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                done.put((key, call(), None))
            except BaseException as error:
                done.put((key, None, error))

    for call in calls.items():
        waiting.put(call)
    for _ in range(min(threads, len(calls))):
        threading.Thread(target=work, daemon=True).start()
    try:
        for _ in calls:
            key, result, error = done.get()
            if error is not None:
                stopped.set()
                yield from _there(done)
                raise error
            yield key, result
    finally:
        stopped.set()


def _there(
    done: "queue.SimpleQueue[tuple[str, Any, BaseException | None]]",
) -> Iterator[tuple[str, Any]]:
    """The results in a queue, failures left out."""
    with suppress(queue.Empty):
        while True:
            key, result, error = done.get_nowait()
            if error is None:
                yield key, result
