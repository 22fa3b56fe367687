"""Commands of manyshot in this process, since to start Python anew takes three seconds each time."""

import contextlib
import io
import os
import signal
from dataclasses import dataclass
from unittest import mock

from manyshot.cli import main


@dataclass(frozen=True)
class Done:
    """A command's exit code, and what it wrote."""

    returncode: int
    stdout: str
    stderr: str


def manyshot(*arguments, cwd, without=("MANYSHOT_DATA",)) -> Done:
    """Run a command in a folder, as the command line does, without some variables of the environment."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    environment = {name: value for name, value in os.environ.items() if name not in without}
    with (
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.dict(os.environ, environment, clear=True),
    ):
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
    return Done(code, out.getvalue(), err.getvalue())
