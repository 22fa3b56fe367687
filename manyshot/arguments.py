"""What each command takes. Settings are flags by `manyshot.flags`; nothing heavy is imported here."""

import argparse
from pathlib import Path
from typing import get_args

from bench.engine import Dtype, EngineSettings
from bench.score_settings import ScoreSettings
from bench.server_settings import ServerSettings
from manyshot.flags import add_flags, count, number, numbers, whole_number
from manyshot.shared_arguments import (
    add_base,
    add_chat,
    add_data,
    add_engine,
    add_format,
    add_json,
    add_judge,
    add_preset,
    add_skip_missing,
    add_store,
    add_suite,
    add_verify,
    add_workers,
)
from merging.chat import THINK_END
from merging.signals import ContinuationSettings
from merging.train_settings import AdapterSettings, TrainSettings
from results.trackers import ReportSettings

KINDS = ("benchmarks", "suites", "methods", "signals", "engines", "experiments", "tables", "figures")


def add_arguments(command: str, parser: argparse.ArgumentParser) -> None:
    """Add a command's arguments to its parser."""
    {
        "demo": _demo,
        "run": _run,
        "search": _search,
        "score": _score,
        "rescore": _rescore,
        "merge": _merge,
        "convert": _convert,
        "extract": _extract,
        "compress": _compress,
        "restore": _restore,
        "train": _train,
        "signals": _signals,
        "report": _report,
        "store": _store_command,
        "card": _card,
        "push": _push,
        "list": _list,
    }[command](parser)


def _demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", type=Path, default=Path("manyshot-demo"), help="folder for models, records and report"
    )
    parser.add_argument(
        "--smoke", action="store_true", help="a few steps of training: to try the path, not to learn"
    )
    add_json(parser)


def _run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("experiment", help="experiment file (YAML), or one shipped: lab, metis, …")
    parser.add_argument("--base", help="another base than the file's: a folder, or hub name")
    parser.add_argument(
        "--limit", dest="ScoreSettings.limit", type=whole_number, metavar="N",
        help="most documents of each lm-eval task, in place of the file's",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=whole_number, action="append", help="in place of the file's (may be repeated)"
    )
    parser.add_argument(
        "--subsets", type=count, nargs="+", help="merge every so many of the tasks, in place of the file's"
    )
    add_judge(parser, default=None)
    add_chat(parser)
    add_engine(parser)
    parser.add_argument("--out", type=Path, help="folder for merged checkpoints and the report")
    parser.add_argument(
        "--leaderboard", type=Path, metavar="DIR", help="also write the leaderboard of the store's runs"
    )
    add_workers(parser)
    add_skip_missing(parser)
    parser.add_argument(
        "--plan",
        action="store_true",
        help="say what will be trained, merged and scored; fetch nothing",
    )
    parser.add_argument(
        "--keep-merged", choices=("yes", "no"), default="yes",
        help="no: remove merged weights when they have been scored (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--tokens-per-second", type=number, nargs="+", metavar="N",
        help="with --plan: a rate of training and one of scoring, or one for both, which give hours",
    )  # fmt: skip
    add_data(parser)
    add_store(parser)
    add_verify(parser)
    add_json(parser)


def _search(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="SEARCH.yaml", help="search file")
    parser.add_argument("--out", type=Path, help="folder for trials, merged checkpoints and the report")
    parser.add_argument(
        "--choose", type=numbers, metavar="W,W",
        help="of several objectives, the weights by which a point of their front becomes a recipe",
    )  # fmt: skip
    add_skip_missing(parser)
    add_data(parser)
    add_store(parser)
    add_verify(parser)
    add_json(parser)
    add_workers(parser)


def _score(parser: argparse.ArgumentParser) -> None:
    checkpoints = parser.add_argument(
        "checkpoints", nargs="+", metavar="MODEL",
        help="folder of a checkpoint, or hub name; with --engine replay, recorded outputs; with api, "
        "what the server runs, or none",
    )  # fmt: skip
    checkpoints.required = False  # nargs="*" would take none where flags come first
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--suite", help="name of a suite, or a YAML file")
    what.add_argument("--benchmark", action="append", help="name of a benchmark (may be repeated), or `all`")
    what.add_argument(
        "--task", action="append", metavar="NAME[,NAME]",
        help="task, group, tag or pattern of lm-eval's (may be repeated)",
    )  # fmt: skip
    parser.add_argument(
        "--include-path", type=Path, action="append", metavar="DIR",
        help="with --task: a folder of tasks in lm-eval's format (may be repeated)",
    )  # fmt: skip
    parser.add_argument(
        "--trust-task-code", action="store_true", help="let tasks of --include-path run their Python code"
    )
    parser.add_argument(
        "--num-fewshot", type=whole_number, metavar="N",
        help="worked examples before a question, in place of the benchmark's own number",
    )  # fmt: skip
    parser.add_argument(
        "--max-new-tokens", type=count, metavar="N",
        help="most tokens of an answer, of benchmarks that ask for more",
    )  # fmt: skip
    parser.add_argument(
        "--output-path", type=Path, metavar="DIR", help="also write results and samples in lm-eval's files"
    )
    add_preset(parser)
    add_flags(parser, ScoreSettings)
    add_chat(parser)
    add_engine(parser)
    add_flags(parser, ServerSettings, defaults={"url": "api only"})
    add_judge(parser)
    add_flags(parser, ReportSettings)
    add_workers(parser)
    add_skip_missing(parser)
    add_data(parser)
    add_store(parser)
    add_verify(parser)
    add_json(parser)


def _rescore(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("outputs", type=Path, metavar="OUTPUTS.jsonl", help="recorded outputs, one a line")
    parser.add_argument("--benchmark", required=True, help="what they answer")
    parser.add_argument("--rows", type=Path, help="file for one verdict a line, in the order of the outputs")
    parser.add_argument(
        "--think-end", default=THINK_END, metavar="TEXT",
        help="what ends the part of an answer that is thought, not said (%(default)s)",
    )  # fmt: skip
    add_judge(parser)
    add_flags(parser, EngineSettings, only={"dtype", "device", "batch_tokens"})
    add_data(parser)
    add_json(parser)


def _merge(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", type=Path, help="recipe file (YAML)")
    parser.add_argument("out", type=Path, nargs="?", help="folder of the merged checkpoint; must not exist")
    parser.add_argument("--plan", action="store_true", help="say what will be read, written and needed")
    parser.add_argument("--device", default="cpu", help="where to compute: cpu, cuda, … (%(default)s)")
    add_verify(parser)
    add_flags(parser, ReportSettings)


def _convert(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE.gguf", help="the GGUF file")
    parser.add_argument("out", type=Path, help="folder of the checkpoint; must not exist")
    parser.add_argument(
        "--dtype", choices=[name for name in get_args(Dtype) if name != "auto"], default="bfloat16",
        help="dtype of the weights that are written (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--tokenizer", type=Path, metavar="FOLDER",
        help="a folder whose tokenizer and chat template are taken, in place of the file's",
    )  # fmt: skip


def _extract(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("base", metavar="BASE", help="folder of the base, or hub name")
    parser.add_argument("expert", metavar="EXPERT", help="folder of the fine-tuned model, or hub name")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the adapter; must not exist")
    parser.add_argument("--rank", type=count, required=True, help="most terms of a matrix")


def _compress(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("base", metavar="BASE", help="folder of the base, or hub name")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the store; must not exist")
    parser.add_argument("experts", nargs="+", metavar="TASK=PATH", help="an expert's folder, or hub name")
    parser.add_argument(
        "--bits", type=int, choices=(8, 4, 3, 2), help="quantise each task vector; without it, masks"
    )
    parser.add_argument(
        "--mask-threshold", type=number, metavar="N",
        help="of masks: λ, by which an entry is the task's own; more keeps fewer (0.4)",
    )  # fmt: skip


def _restore(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("store", type=Path, metavar="STORE", help="folder that `compress` wrote")
    parser.add_argument("task", metavar="TASK", help="the expert's name in there")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the checkpoint; must not exist")
    parser.add_argument("--base", help="folder of the base, where it lies elsewhere now; or hub name")


def _train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "out", type=Path, help="folder of the expert, which must not exist; of several, for a folder of each"
    )
    add_suite(parser)
    parser.add_argument("--task", required=True, action="append", help="task of the suite (may be repeated)")
    add_base(parser)
    parser.add_argument("--examples", type=count, help="most training examples (all)")
    add_flags(parser, TrainSettings)
    add_flags(parser, AdapterSettings, defaults={"rank": "all weights", "alpha": "the rank"})
    add_chat(parser)
    add_data(parser)
    add_workers(parser)


def _signals(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "experts", nargs="+", metavar="EXPERT", help="TASK=PATH, or a folder of the task's name"
    )
    add_suite(parser)
    add_base(parser)
    parser.add_argument("--inputs", type=count, default=100, help="validation inputs of a task (%(default)s)")
    add_flags(parser, ContinuationSettings, only={"max_new_tokens", "top_k"})
    parser.add_argument(
        "--loss", choices=("text", "completion"), default="text", help="what losses are over (%(default)s)"
    )
    parser.add_argument("--score", action="store_true", help="make scores that are not in the store")
    add_preset(parser)
    add_flags(parser, ScoreSettings)
    add_chat(parser)
    add_engine(parser)
    parser.add_argument("--out", type=Path, help="folder for heat maps and signals.json")
    add_data(parser)
    add_store(parser)
    add_verify(parser)
    add_json(parser)


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
    add_format(table, "terminal", "markdown", "latex", "csv", "html")
    figure = kinds.add_parser("figure", help="the comparison as a picture (PNG, PDF or SVG by suffix)")
    figure.add_argument("out", type=Path, help="file to write")
    figure.add_argument(
        "--show", default="tasks", metavar="NAME", help="which of `list figures` (%(default)s)"
    )
    figure.add_argument("--setting", metavar="NAME", help="a method's setting, of `sensitivity`")
    figure.add_argument("--signals", type=Path, metavar="FILE", help="signals.json, of what shows signals")
    figure.add_argument("--search", type=Path, metavar="FILE", help="search.json, of what shows a search")
    board = kinds.add_parser("leaderboard", help="all runs of some stores as a page, with ranks and outputs")
    board.add_argument("--out", type=Path, required=True, help="folder for index.html")
    pair = kinds.add_parser("compare", help="two checkpoints, benchmark by benchmark, and where they differ")
    for name in ("first", "second"):
        pair.add_argument(name, help="label in the run; or path, name or digest of a checkpoint in the store")
    pair.add_argument(
        "--documents", type=whole_number, metavar="N", help="documents to list on which either is better (1)"
    )
    add_format(pair, "terminal", "markdown", "csv")
    add_json(pair)
    submission = kinds.add_parser("submission", help="runs with their records, in a folder to send to others")
    submission.add_argument("out", type=Path, help="folder to make; must not exist")
    for kind in (table, figure, board, submission, pair):
        kind.add_argument("--run", action="append", default=[], help=_RUNS[kind is board])
        add_store(kind, several=kind is board)
        kind.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)


_RUNS = ("name of a run (the latest); some show several", "name of a run (may be repeated; all runs)")


def _store_command(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    joined = kinds.add_parser("merge", help="bring the records and runs of other stores into the first")
    joined.add_argument(
        "stores", nargs="+", type=Path, metavar="STORE", help="folders; the first is added to"
    )
    checked = kinds.add_parser("check", help="read every record with its rows, and every run")
    add_store(checked)
    for kind in (joined, checked):
        kind.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def _card(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder of the checkpoint")
    add_store(parser)


def _push(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder of the checkpoint")
    parser.add_argument("repository", metavar="OWNER/NAME", help="repository on the hub; made where missing")
    parser.add_argument("--public", action="store_true", help="for all to see (private)")
    parser.add_argument("--revision", metavar="BRANCH", help="branch, made where missing (main)")
    parser.add_argument("--message", help="of the commit")
    parser.add_argument("--dry-run", action="store_true", help="list files and sizes; send nothing")


def _list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=KINDS, help="what to list")
    parser.add_argument("name", nargs="?", help="tell more about this one")
    add_data(parser)
