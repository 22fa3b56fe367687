"""The one exception that stands for bad input."""

from collections.abc import Collection


class InputError(Exception):
    """Something the user gave is wrong.

    The message is one sentence that names the file, tensor, benchmark or key, says what was expected
    and what to do. The command line prints it without a traceback and exits with code 2.
    """


def and_more(names: Collection[str]) -> str:
    """Return ` (and 2 more)` for three names of which a sentence gives one, and nothing for one."""
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""
