"""What people see while they wait: notices and progress on stderr. Answers go to stdout."""

import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

logger = logging.getLogger("manyshot")


_LONGEST_WORD = 300
_LONGEST_MESSAGE = 5000


def printable(text: str) -> str:
    """Return a message with what cannot be printed escaped, and with words and all of a readable length."""
    escaped = "".join(
        letter if letter.isprintable() or letter == "\n" else repr(letter)[1:-1]
        for letter in text[: _LONGEST_MESSAGE + 1]
    )
    return _cut(re.sub(r"\S+", lambda word: _cut(word[0], _LONGEST_WORD), escaped), _LONGEST_MESSAGE)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}…"


class _PrintableFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def answer(text: str) -> None:
    """Write an answer to stdout."""
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")


def as_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Rows under headings, where there are some, as a table on the terminal."""
    from reports.table_model import text_table
    from reports.terminal import wide_terminal

    return wide_terminal(text_table(headings, rows)).rstrip("\n")


def size(nbytes: float) -> str:
    """A size, as in `1.5 GB`."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if nbytes < 1000:
            return f"{nbytes:.3g} {unit}"
        nbytes /= 1000
    return f"{nbytes:.3g} TB"


def console() -> "Console":
    """A console on stderr."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


def set_up_logging(debug: bool) -> None:
    """Show our notices as one line each, and keep what the libraries say away unless asked to debug."""
    logging.basicConfig(level=logging.DEBUG if debug else logging.ERROR, format="%(name)s: %(message)s")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_PrintableFormatter("manyshot: %(message)s"))
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.DEBUG if debug else logging.INFO)
    if not debug:
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


class ScoringProgress:
    """A bar over records, or steps, to be made, with the requests of the present one beside it."""

    def __init__(self, total: int, of: str = "records") -> None:
        from rich import progress

        bars_console = console()
        self._bars = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(bar_width=30),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
            progress.TimeRemainingColumn(),
            console=bars_console,
            transient=True,
            disable=not bars_console.is_terminal,
        )
        self._records = self._bars.add_task(of, total=total)
        self._requests = self._bars.add_task("", total=None, visible=False)

    def start(self, description: str) -> None:
        """A record is being made."""
        self._bars.reset(self._requests, total=None, description=description, visible=True)

    def requests(self, done: int, total: int) -> None:
        """Show how many of the record's requests are answered."""
        self._bars.update(self._requests, completed=done, total=total)

    def finish(self, records: int = 1) -> None:
        """The record is there, or so many are."""
        self._bars.advance(self._records, records)

    @contextmanager
    def shown(self) -> Iterator["ScoringProgress"]:
        """Show the bars."""
        with self._bars:
            yield self
