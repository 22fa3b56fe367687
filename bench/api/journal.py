"""Answers of a server that are kept until their record is written, so that a second start goes on."""

import json
import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from results.words import counted
from results.writing import write_atomically

logger = logging.getLogger("manyshot.bench")
_SAYS = "says"
_ROUNDING = 0.01
"""Between log-probabilities of one model that is asked one question twice. Merges that are neighbours differ
by a few hundredths; a model that differs by as much, as in bfloat16 beside other requests, is asked again."""


class Journal:
    """Answers by request, one a line in a file.

    Args:
        path: the file, which is made with the first answer; None keeps them in memory alone.
        says: what the server says now to a fixed question: a text, or log-probabilities. Answers of a server
            that said something else are forgotten.
    """

    def __init__(self, path: Path | None = None, says: str | Sequence[float] = "") -> None:
        self.path, self._says = path, says if isinstance(says, str) else list(says)
        self._answers: dict[str, Any] = {}
        if path is not None and path.is_file():
            self._read(path)

    def find(self, digest: str) -> Any:
        """The answer to the request of a digest, or None."""
        return self._answers.get(digest)

    def keep(self, digest: str, answer: Any) -> None:
        """Keep an answer, a JSON value."""
        self._answers[digest] = answer
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                if not file.tell():
                    file.write(f"{json.dumps([_SAYS, self._says])}\n")
                file.write(f"{json.dumps([digest, answer])}\n")

    def remove(self) -> None:
        """Forget all."""
        self._answers = {}
        if self.path is not None:
            self.path.unlink(missing_ok=True)
            with suppress(OSError):  # there are others', or there is none
                self.path.parent.rmdir()

    def _read(self, path: Path) -> None:
        """Read what an earlier start has left; a line that was cut off by its end is none."""
        whole = []
        for line in path.read_bytes().splitlines(keepends=True):
            try:
                digest, answer = json.loads(line)
            except (ValueError, TypeError):
                continue
            if line.endswith(b"\n"):
                self._answers[digest] = answer
                whole.append(line)
        if not _agree(self._answers.pop(_SAYS, None), self._says):
            logger.warning("the server answers otherwise than before: what it had answered is asked again")
            self.remove()
            return
        if self._answers:
            logger.info("%s kept from an earlier start", counted(len(self._answers), "answer"))
        write_atomically(path, b"".join(whole))


def _agree(before: Any, now: str | list[float]) -> bool:
    """Whether two answers to a fixed question are those of one model; of numbers to rounding."""
    if isinstance(now, str) or not isinstance(before, list):
        return bool(before == now)
    pairs = zip(before, now, strict=False)
    return len(before) == len(now) and all(abs(a - b) < _ROUNDING for a, b in pairs)
