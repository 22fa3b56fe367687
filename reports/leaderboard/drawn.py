"""Pictures beside the page that show what they would show again are not drawn again."""

import json
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from results.errors import InputError
from results.json_values import digest_of
from results.reading import read_json
from results.writing import write_atomically

FILE = ".drawn.json"


class Drawn:
    """The pictures of a folder, with what each of them shows.

    That is kept in a file beside them, which may be removed.

    Args:
        folder: where they lie; it is made by the first picture.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            before = read_json(folder / FILE)
        except InputError:
            before = None
        self._before = before if isinstance(before, dict) else {}
        self._now: dict[str, list[str]] = {}

    def picture(self, name: str, shows: object, draw: Callable[[Path], object]) -> None:
        """Draw a picture, unless its file is as it was drawn of the same values by the same code.

        Args:
            name: of its file.
            shows: all that it depends on, as JSON.
            draw: writes it.
        """
        path, shown = self._folder / name, digest_of([_code(), shows])
        if self._before.get(name) != [shown, _digest(path)]:
            draw(path)
        self._now[name] = [shown, _digest(path)]

    def save(self) -> None:
        """Keep what the pictures show."""
        if self._now and self._now != self._before:
            write_atomically(self._folder / FILE, json.dumps(self._now).encode())


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


@cache
def _code() -> str:
    """What changes with the code that draws."""
    folders = files("reports.figures"), files("reports.leaderboard")
    sources = [file for folder in folders for file in folder.iterdir() if file.name.endswith(".py")]
    texts = [file.read_text(encoding="utf-8") for file in sorted(sources, key=str)]
    return digest_of([version("matplotlib"), texts])
