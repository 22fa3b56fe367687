"""The one exception that stands for bad input."""


class InputError(Exception):
    """Something the user gave is wrong.

    The message is one sentence that names the file, tensor, benchmark or key, says what was expected
    and what to do. The command line prints it without a traceback and exits with code 2.
    """
