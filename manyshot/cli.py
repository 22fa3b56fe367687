"""The command line. Heavy imports happen inside the commands, so that `--help` answers at once."""

import argparse
import importlib
import os
import re
import sys
import traceback
from importlib.metadata import version
from typing import NoReturn

from manyshot.console import printable, set_up_logging
from manyshot.interrupts import STOPPED, exit_code, stop_on_signals
from results.errors import InputError

_COMMANDS = {
    "demo": "the whole job on a family of tiny models made on this machine",
    "run": "merge experts by every method of an experiment file, score and compare",
    "search": "search for the best merge on validation data, within a budget",
    "score": "score checkpoints on a suite or on benchmarks",
    "rescore": "score recorded outputs without a model",
    "merge": "merge experts as a recipe file says",
    "convert": "make a checkpoint of a GGUF file",
    "extract": "make a LoRA adapter of a fine-tuned model",
    "compress": "store experts as masks of one merged vector, or as task vectors of a few bits",
    "restore": "make an expert again from what is stored of it",
    "train": "fine-tune experts on tasks of a suite",
    "signals": "losses, loss gaps, divergences and cosines of a base and its experts",
    "report": "tables and figures of a run, two checkpoints head to head, and the leaderboard",
    "store": "join stores of records, and find what is damaged in one",
    "card": "write a checkpoint's scores into its model card",
    "push": "send a checkpoint to the hub",
    "list": "what there is: benchmarks, suites, methods, signals, engines, experiments, tables, figures",
}


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are printable, of a readable length, and without the list of all flags."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {printable(message)} ({self.prog} --help has all flags)\n")


def main(arguments: list[str] | None = None) -> None:
    """Run one command and exit: 0 if it worked, 2 on bad input, 130 on Ctrl-C and 143 on SIGTERM."""
    _prepare_streams()
    stop_on_signals()
    debug = False
    try:
        options = parse(sys.argv[1:] if arguments is None else arguments)
        debug = options.debug
        set_up_logging(debug)
        importlib.import_module(f"manyshot.commands.{options.command}").run(options)
        sys.stdout.flush()
    except InputError as error:
        _fail(str(error), debug)
    except ValueError as error:
        from pydantic import ValidationError

        from results.validation import sentence_of

        if not isinstance(error, ValidationError):
            raise
        _fail(f"{error.title}: {sentence_of(error)}.", debug)  # which no check has found before
    except BrokenPipeError:
        # What reads the answer has enough of it. Python would complain when it flushes stdout at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        _fail(f"{error.filename or 'A file or the output'}: {error.strerror or error}.", debug)
    except KeyboardInterrupt as interruption:
        sys.stderr.write(STOPPED)
        sys.exit(exit_code(interruption))


def parse(arguments: list[str]) -> argparse.Namespace:
    """Parse a command line. Only the parser of the command that is asked for gets its arguments.

    Flags may be written with `_`, as lm-eval's and mergekit's are.
    """
    arguments = [re.sub(r"^--[\w-]+", lambda flag: flag[0].replace("_", "-"), one) for one in arguments]
    parser = _Parser(prog="manyshot", description="Merge language models, score and compare them.")
    parser.add_argument("--version", action="version", version=f"manyshot {version('manyshot')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    asked = next((argument for argument in arguments if argument in _COMMANDS), None)
    for name, help_text in _COMMANDS.items():
        command = commands.add_parser(
            name, help=help_text, description=help_text[0].upper() + help_text[1:] + "."
        )
        command.add_argument("--debug", action="store_true", help="show a traceback and what libraries say")
        if name == asked:
            from manyshot.arguments import add_arguments

            add_arguments(name, command)
    options, rest = parser.parse_known_args(arguments)
    if rest:
        # What is given to a flag that is not known may be a key, and is not repeated.
        flags = [flag[0] for one in rest if (flag := re.match(r"--[\w-]+|-\w", one))]
        whole = [parser.prog, options.command, *([options.kind] if "kind" in options else ())]
        _Parser(prog=" ".join(whole)).error(f"unrecognized arguments: {' '.join(flags or rest)}")
    return options


def _prepare_streams() -> None:
    """Write to nowhere where a stream is closed, and escape what a stream's encoding lacks."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _fail(sentence: str, debug: bool) -> NoReturn:
    if debug:
        traceback.print_exc()
    sys.stderr.write(f"manyshot: {printable(sentence)}\n")
    sys.exit(2)
