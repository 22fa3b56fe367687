"""Flags that several commands take."""

import argparse
from pathlib import Path

from bench.engine import EngineSettings
from manyshot.flags import add_flags, count_or_auto, json_object
from merging.chat import ChatSettings


def add_suite(parser: argparse.ArgumentParser) -> None:
    """Add the flag of a suite."""
    parser.add_argument("--suite", required=True, help="name of a suite, or a YAML file")


def add_base(parser: argparse.ArgumentParser) -> None:
    """Add the flag of a base."""
    parser.add_argument("--base", required=True, help="folder of the base, or hub name")


def add_chat(parser: argparse.ArgumentParser) -> None:
    """Add the flags of how conversations are written."""
    add_flags(parser, ChatSettings)
    parser.add_argument(
        "--chat-template-args", dest="ChatSettings.chat_template_args", type=json_object, metavar="JSON",
        help='what else the template is given, as \'{"date_string": "26 Jul 2024"}\'',
    )  # fmt: skip


def add_preset(parser: argparse.ArgumentParser) -> None:
    """Add the flag of a suite's preset."""
    parser.add_argument("--preset", help="settings of the suite by name, such as `paper`")


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Add the flags of how checkpoints are run."""
    add_flags(parser, EngineSettings, names={"name": "engine"})


def add_judge(parser: argparse.ArgumentParser, default: str | None = "patterns") -> None:
    """Add the flag of the judge of refusals."""
    usual = default or "the file's"
    parser.add_argument(
        "--judge",
        default=default,
        help=f"judge of refusals: patterns, or a classifier such as allenai/wildguard ({usual})",
    )


def add_skip_missing(parser: argparse.ArgumentParser) -> None:
    """Add the flag of leaving out what has no data."""
    parser.add_argument("--skip-missing", action="store_true", help="leave out benchmarks without data")


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add the flag of the data root."""
    parser.add_argument("--data", type=Path, help="local data root (MANYSHOT_DATA; else the hub)")


def add_verify(parser: argparse.ArgumentParser) -> None:
    """Add the flag of hashing weights again."""
    parser.add_argument(
        "--verify", action="store_true", help="hash all weights again, and not only files that have changed"
    )


def add_store(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """Add the flag of the store of records, or of several."""
    if several:
        about = "folder of records, or a submission (may be repeated; MANYSHOT_STORE, ./manyshot-results)"
        parser.add_argument("--store", type=Path, action="append", help=about)
    else:
        about = "folder of the records (MANYSHOT_STORE, ./manyshot-results)"
        parser.add_argument("--store", type=Path, help=about)


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add the flag of answers as JSON."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def add_format(parser: argparse.ArgumentParser, *formats: str) -> None:
    """Add the flag of the form of an answer, the first of which is usual."""
    parser.add_argument("--format", choices=formats, default=formats[0], help="(%(default)s)")


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add the flags of how many processes work."""
    parser.add_argument(
        "--workers", type=count_or_auto, metavar="N",
        help="work in so many processes, each with a GPU or else a core; auto: as many as there are",
    )  # fmt: skip
    parser.add_argument(
        "--ray", metavar="ADDRESS", help="of a Ray cluster that has the workers (one is started here)"
    )
