"""The command line. Heavy imports happen inside the commands, so that `--help` answers at once."""

import argparse
import importlib
import signal
import sys
import traceback
from importlib.metadata import version
from pathlib import Path

from results.errors import InputError

KINDS = ("benchmarks", "suites", "methods", "signals", "engines", "experiments", "tables")
_COMMANDS = {
    "demo": "the whole job on a family of tiny models made on this machine",
    "run": "merge experts by every method of an experiment file, score and compare",
    "score": "score checkpoints on a suite or on benchmarks",
    "rescore": "score recorded outputs without a model",
    "merge": "merge experts as a recipe file says",
    "train": "fine-tune an expert on a suite's task",
    "signals": "losses, loss gaps, divergences and cosines of a base and its experts",
    "report": "tables and figures of a run, two checkpoints head to head, and the leaderboard",
    "list": "what there is: benchmarks, suites, methods, signals, engines, experiments",
}


def main(arguments: list[str] | None = None) -> None:
    """Run one command and exit: 0 if it worked, 2 on bad input, 130 when interrupted."""
    parser = _parser()
    options = parser.parse_args(arguments)
    from manyshot.terminal import set_up_logging

    set_up_logging(options.debug)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        importlib.import_module(f"manyshot.commands.{options.command}").run(options)
    except InputError as error:
        _fail(str(error), options.debug)
    except BrokenPipeError:
        sys.stderr.close()
    except OSError as error:
        _fail(f"{error.filename or 'A file'}: {error.strerror or error}.", options.debug)
    except KeyboardInterrupt:
        sys.stderr.write("manyshot: interrupted; start again to go on from what is kept\n")
        sys.exit(130)


def _interrupt(*_: object) -> None:
    """Stop as on Ctrl-C, which keeps what can be gone on with."""
    raise KeyboardInterrupt


def _fail(sentence: str, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    sys.stderr.write(f"manyshot: {sentence}\n")
    sys.exit(2)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="manyshot", description="Merge language models, score and compare them."
    )
    parser.add_argument("--version", action="version", version=f"manyshot {version('manyshot')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    parsers = {}
    for name, help_text in _COMMANDS.items():
        parsers[name] = commands.add_parser(name, help=help_text, description=help_text.capitalize() + ".")
        parsers[name].add_argument(
            "--debug", action="store_true", help="show a traceback and what libraries say"
        )
    _demo(parsers["demo"])
    _run(parsers["run"])
    _score(parsers["score"])
    _rescore(parsers["rescore"])
    _merge(parsers["merge"])
    _train(parsers["train"])
    _signals(parsers["signals"])
    _report(parsers["report"])
    _list(parsers["list"])
    return parser


def _demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", type=Path, default=Path("manyshot-demo"), help="folder for models, records and report"
    )
    parser.add_argument(
        "--smoke", action="store_true", help="a few steps of training: to try the path, not to learn"
    )
    parser.add_argument("--json", action="store_true", help="print the table as JSON")


def _run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("experiment", help="experiment file (YAML), or one shipped: lab, metis, …")
    parser.add_argument("--base", help="another base than the file's: a folder, or hub name")
    parser.add_argument("--limit", type=int, help="most documents of each lm-eval task")
    parser.add_argument("--seed", type=int, action="append", help="in place of the file's (may be repeated)")
    parser.add_argument(
        "--subsets", type=int, nargs="+", help="merge every so many of the tasks, in place of the file's"
    )
    parser.add_argument(
        "--judge", help="judge of refusals, in place of the file's: patterns, or a classifier"
    )
    parser.add_argument("--out", type=Path, help="folder for merged checkpoints and the report")
    parser.add_argument(
        "--leaderboard", type=Path, metavar="DIR", help="also write the leaderboard of the store's runs"
    )
    parser.add_argument("--skip-missing", action="store_true", help="leave out benchmarks without data")
    parser.add_argument(
        "--plan",
        action="store_true",
        help="say what will be trained, scored, read and written; fetch nothing",
    )
    parser.add_argument(
        "--tokens-per-second", type=float, nargs="+", metavar="N",
        help="with --plan: a rate of training and one of scoring, or one for both, which give hours",
    )  # fmt: skip
    _common(parser)


def _score(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoints", nargs="+", metavar="MODEL", help="folder of a checkpoint, or hub name")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--suite", help="name of a suite, or a YAML file")
    what.add_argument("--benchmark", action="append", help="name of a benchmark (may be repeated), or `all`")
    parser.add_argument("--preset", help="settings of the suite by name, such as `paper`")
    parser.add_argument("--limit", type=int, help="most documents of each lm-eval task")
    parser.add_argument("--seed", type=int, help="seed of the few-shot sampler (1234)")
    parser.add_argument(
        "--engine",
        default="auto",
        help="hf; vllm; auto: vllm on a GPU, where it can; replay: MODEL is recorded outputs (%(default)s)",
    )
    _judge(parser)
    parser.add_argument("--dtype", default="auto", help="float32, bfloat16, float16 or auto")
    parser.add_argument("--device", default="auto", help="cpu, cuda, … or auto")
    parser.add_argument(
        "--batch-tokens", type=int, help="most tokens computed at once (as serves the device)"
    )
    parser.add_argument("--max-length", type=int, help="longest sequence in tokens (the checkpoint's)")
    parser.add_argument(
        "--tensor-parallel", type=int, default=1, help="GPUs that share each tensor; vllm (%(default)s)"
    )
    parser.add_argument(
        "--memory-share", type=float, help="share of memory for weights and key-value cache; vllm"
    )
    parser.add_argument("--skip-missing", action="store_true", help="leave out benchmarks without data")
    _common(parser)


def _rescore(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("outputs", type=Path, metavar="OUTPUTS.jsonl", help="recorded outputs, one a line")
    parser.add_argument("--benchmark", required=True, help="what they answer")
    parser.add_argument("--rows", type=Path, help="file for one verdict a line, in the order of the outputs")
    parser.add_argument("--data", type=Path, help="local data root (MANYSHOT_DATA; else the hub)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    _judge(parser)


def _judge(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--judge",
        default="patterns",
        help="judge of refusals: patterns, or a classifier such as allenai/wildguard (%(default)s)",
    )


def _merge(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", type=Path, help="recipe file (YAML)")
    parser.add_argument("out", type=Path, nargs="?", help="folder of the merged checkpoint; must not exist")
    parser.add_argument("--plan", action="store_true", help="say what will be read, written and needed")
    parser.add_argument("--device", default="cpu", help="where to compute: cpu, cuda, … (%(default)s)")


def _train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=Path, help="folder of the expert; must not exist")
    parser.add_argument("--suite", required=True, help="name of a suite, or a YAML file")
    parser.add_argument("--task", required=True, help="task of the suite")
    parser.add_argument("--base", required=True, help="folder of the base, or hub name")
    parser.add_argument("--data", type=Path, help="local data root (MANYSHOT_DATA; else the hub)")
    parser.add_argument("--epochs", type=float, help="passes over the training data (1)")
    parser.add_argument("--max-steps", type=int, help="optimiser steps, in place of epochs")
    parser.add_argument("--learning-rate", type=float, help="peak learning rate (3e-4)")
    parser.add_argument("--batch-size", type=int, help="examples in a step (8)")
    parser.add_argument(
        "--loss", choices=("completion", "text"), help="tokens that the loss is taken over (completion)"
    )
    parser.add_argument("--max-length", type=int, help="cut-off in tokens (512)")
    parser.add_argument("--seed", type=int, help="seed of the order of examples, and of a new adapter (0)")
    parser.add_argument("--accumulation", type=int, help="parts that a step's examples are computed in (1)")
    parser.add_argument("--examples", type=int, help="most training examples (all)")
    parser.add_argument(
        "--report-to", nargs="+", help="tensorboard (under ./runs), wandb or mlflow, where they are installed"
    )
    parser.add_argument("--rank", type=int, help="train a LoRA adapter of this rank in place of all weights")
    parser.add_argument(
        "--alpha", type=float, help="α of the adapter, whose product counts α/rank times (as rank)"
    )
    parser.add_argument("--targets", nargs="+", help="layers that it adapts (q_proj k_proj v_proj o_proj)")


def _signals(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "experts", nargs="+", metavar="EXPERT", help="TASK=PATH, or a folder of the task's name"
    )
    parser.add_argument("--suite", required=True, help="name of a suite, or a YAML file")
    parser.add_argument("--base", required=True, help="folder of the base, or hub name")
    parser.add_argument("--inputs", type=int, default=100, help="validation inputs of a task (%(default)s)")
    parser.add_argument(
        "--max-new-tokens", type=int, default=32, help="most tokens that an expert goes on with (%(default)s)"
    )
    parser.add_argument("--top-k", type=int, help="compare the likeliest tokens only: lower bounds (all)")
    parser.add_argument(
        "--loss", choices=("text", "completion"), default="text", help="what losses are over (%(default)s)"
    )
    parser.add_argument("--score", action="store_true", help="make scores that are not in the store")
    parser.add_argument("--limit", type=int, help="documents of the scores (all)")
    parser.add_argument("--preset", help="the suite's settings of scores, such as paper")
    parser.add_argument("--engine", default="auto", help="hf, vllm or auto (%(default)s)")
    parser.add_argument("--dtype", default="auto", help="float32, bfloat16, … (%(default)s)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, … (%(default)s)")
    parser.add_argument("--out", type=Path, help="folder for heat maps and signals.json")
    _common(parser)


def _report(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    table = kinds.add_parser("table", help="the comparison as a table, or a paper's table by name")
    table.add_argument(
        "name", nargs="?", help="metis-performance, divmerge-scaling, … (the comparison); `list tables`"
    )
    table.add_argument(
        "--source", choices=("ours", "paper", "both"), default="ours",
        help="of a paper's table: our runs, as printed, or both with their difference (%(default)s)",
    )  # fmt: skip
    table.add_argument("--backbone", action="append", help="what a run's base is called; one for each --run")
    table.add_argument(
        "--signals", type=Path, action="append", help="signals.json that `manyshot signals --out` wrote"
    )
    table.add_argument(
        "--format", choices=("terminal", "markdown", "latex", "csv"), default="terminal", help="(%(default)s)"
    )
    figure = kinds.add_parser("figure", help="the comparison as a picture (PNG, PDF or SVG by suffix)")
    figure.add_argument("out", type=Path, nargs="?", help="file to write")
    figure.add_argument("--show", default="tasks", metavar="NAME", help="which figure (%(default)s)")
    figure.add_argument("--list", action="store_true", help="say which figures there are")
    figure.add_argument("--setting", metavar="NAME", help="a method's setting, of `sensitivity`")
    figure.add_argument("--signals", type=Path, metavar="FILE", help="signals.json, of what shows signals")
    board = kinds.add_parser("leaderboard", help="all runs of some stores as a page, with ranks and outputs")
    board.add_argument("--out", type=Path, required=True, help="folder for index.html and pictures")
    board.add_argument("--run", action="append", default=[], help="name of a run (may be repeated; all runs)")
    board.add_argument(
        "--store",
        type=Path,
        action="append",
        help="folder of records, or a submission (may be repeated; MANYSHOT_STORE, ./manyshot-results)",
    )
    board.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    pair = kinds.add_parser("compare", help="two checkpoints, benchmark by benchmark, and where they differ")
    for name in ("first", "second"):
        pair.add_argument(name, help="label in the run; or path, name or digest of a checkpoint in the store")
    pair.add_argument(
        "--documents", type=int, metavar="N", help="documents to list on which either is better (1)"
    )
    pair.add_argument(
        "--format", choices=("terminal", "markdown", "csv"), default="terminal", help="(%(default)s)"
    )
    pair.add_argument("--json", action="store_true", help="print JSON")
    submission = kinds.add_parser("submission", help="runs with their records, in a folder to send to others")
    submission.add_argument("out", type=Path, help="folder to make; must not exist")
    for kind in (table, figure, submission, pair):
        kind.add_argument("--run", action="append", help="name of the run (the latest); some show several")
        kind.add_argument(
            "--store", type=Path, help="folder of the records (MANYSHOT_STORE, ./manyshot-results)"
        )
        kind.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)


def _list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=KINDS, help="what to list")
    parser.add_argument("name", nargs="?", help="tell more about this one")
    parser.add_argument("--data", type=Path, help="local data root (MANYSHOT_DATA; else the hub)")


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, help="local data root (MANYSHOT_DATA; else the hub)")
    parser.add_argument(
        "--store", type=Path, help="folder of the records (MANYSHOT_STORE, ./manyshot-results)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
