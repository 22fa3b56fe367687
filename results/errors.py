"""The one exception that stands for bad input."""

from collections.abc import Collection, Iterable
from difflib import get_close_matches

_NEAREST = 5


class InputError(Exception):
    """Something the user gave is wrong.

    The message is one sentence that names the file, tensor, benchmark or key, says what was expected
    and what to do. The command line prints it without a traceback and exits with code 2.
    """


def nearest(name: str, names: Iterable[str]) -> str:
    """The names that resemble an unknown one, as the end of a sentence; empty where none does."""
    near = get_close_matches(name, list(names), n=_NEAREST, cutoff=0.6)
    names_are = "name is" if len(near) == 1 else "names are"
    return f" The nearest {names_are} {', '.join(near)}." if near else ""


def and_more(names: Collection[str]) -> str:
    """Return ` (and 2 more)` for three names of which a sentence gives one, and nothing for one."""
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""
