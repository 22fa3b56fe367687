"""The journal of a merge: what is done already, so that one that was killed can be resumed.

One JSON object a line, written in one call each. A line that was cut off by the end of its process is
dropped when the journal is opened again.
"""

import json
import os
from pathlib import Path
from typing import Any

JOURNAL = "journal.jsonl"
"""The file, in the folder of a merge while it lasts."""


class Journal:
    """The lines of a journal file, and a way to add to them. Used in a `with` statement.

    Args:
        path: the file; None keeps nothing, for a merge that is not resumed.

    Attributes:
        statistics: what first passes found, by their names.
        progress: by tensor, up to which entry it is written, and what was noted of it.
    """

    def __init__(self, path: Path | None) -> None:
        self.statistics: dict[str, Any] = {}
        self.progress: dict[str, tuple[int, Any]] = {}
        self._file: int | None = None
        if path is None:
            return
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        whole = 0
        for line in path.read_bytes().splitlines(keepends=True):
            try:
                self._take(json.loads(line if line.endswith(b"\n") else b""))
            except ValueError:  # cut off, by the end of its process or by a full disk
                break
            whole += len(line)
        os.ftruncate(self._file, whole)

    def add_statistic(self, name: str, value: Any) -> None:
        """Keep what a first pass found."""
        self._add({"statistic": name, "value": value})

    def add_progress(self, tensor: str, stop: int, noted: Any) -> None:
        """Keep that a tensor is written up to entry `stop`, and what is noted of it so far."""
        self._add({"tensor": tensor, "stop": stop, "noted": noted})

    def forget_progress(self) -> None:
        """Keep that nothing is written after all."""
        self._add({"forgotten": "progress"})

    def _add(self, content: dict[str, Any]) -> None:
        line = json.dumps(content).encode() + b"\n"
        self._take(json.loads(line))
        while line and self._file is not None:
            line = line[os.write(self._file, line) :]

    def _take(self, content: dict[str, Any]) -> None:
        if "forgotten" in content:
            self.progress.clear()
        elif "statistic" in content:
            self.statistics[content["statistic"]] = content["value"]
        else:
            self.progress[content["tensor"]] = (content["stop"], content["noted"])

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            os.close(self._file)
