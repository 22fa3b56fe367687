"""The leaderboard as a page: one HTML file that needs no network."""

import base64
import hashlib
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from reports.colours import BASE_COLOUR, COLOURS
from reports.leaderboard.kept import code_digest
from reports.leaderboard.shown import ShownEntry
from reports.leaderboard.table import details_of, table_of
from results.errors import InputError
from results.leaderboard import Leaderboard
from results.writing import write_atomically

PAGE = "index.html"
_MARK = '<meta name="generator" content="manyshot">'
_SCRIPTS = ("elements.js", "state.js", "columns.js", "table.js", "panel.js", "page.js")


def write_page(board: Leaderboard[ShownEntry], out: Path) -> Path:
    """Write the page. Other files in the folder stay as they are.

    Args:
        board: what to show.
        out: the folder; it is made where it is not there.

    Returns:
        The page's file.

    Raises:
        InputError: a file stands where the folder would, or its index.html is not a leaderboard.
    """
    code_digest()  # before a run that may take days, in which the code may be replaced
    check_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    page = out / PAGE
    write_atomically(page, render(board).encode())
    return page


def check_folder(out: Path) -> None:
    """Refuse a folder in which no leaderboard may be written.

    Raises:
        InputError: a file stands where the folder would, or its index.html is not a leaderboard.
    """
    page = out / PAGE
    for folder in (*reversed(out.parents), out):
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder}: a file, not a folder; give another folder for the leaderboard")
    if page.exists() and not (page.is_file() and _MARK.encode() in page.read_bytes()):
        raise InputError(f"{page}: not a leaderboard, and is not replaced; give another folder")


def render(board: Leaderboard[ShownEntry]) -> str:
    """The page as HTML.

    What comes from models and users is in it as JSON only, with `<`, `>`, `&` and all but ASCII escaped, or
    compressed and in base64, and the page's script makes it text. The page's policy lets no other script run
    and loads nothing but pictures that are in it.
    """
    ids = [standing.id for standing in board.standings]
    assert len(set(ids)) == len(ids), "the page finds rows and panels by these ids"
    environment = Environment(
        loader=PackageLoader("reports.leaderboard", "."), autoescape=True, undefined=StrictUndefined
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    style = _COLOURS + _text("style.css")
    script = '"use strict";\n' + "\n".join(map(_text, _SCRIPTS))
    return environment.get_template("page.html").render(
        mark=Markup(_MARK),
        policy=f"default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src {_hash(style)}; script-src {_hash(script)}",
        style=Markup(style),
        script=Markup(script),
        table=table_of(board),
        details=[base64.b64encode(block).decode() for block in details_of(board)],
    )


_COLOURS = f"""
:root {{ --accent: {COLOURS[0]}; --reference: {BASE_COLOUR}; }}
@media (prefers-color-scheme: dark) {{ :root {{ --accent: {COLOURS[4]}; }} }}
"""


def _text(name: str) -> str:
    return files("reports.leaderboard").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
