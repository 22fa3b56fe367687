"""The tables the merging papers print, as data: one CSV file each, values as printed."""

import csv
from importlib.resources import files

from results.errors import InputError

SOURCES = {"metis": "METIS, arXiv 2606.16501", "divmerge": "DivMerge, arXiv 2509.02108"}
"""The paper of a table, by the first word of its name."""


def published_names() -> tuple[str, ...]:
    """Names of the tables, sorted: paper first, then what the table shows."""
    names = (file.name for file in files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(".csv") for name in names if name.endswith(".csv")))


def published_rows(name: str) -> list[dict[str, str]]:
    """The rows of a published table, for example ``metis_worst_task``: text by column, as printed.

    Raises:
        InputError: there is no table of that name.
    """
    if name not in published_names():
        raise InputError(f"no published table '{name}'; there are {', '.join(published_names())}")
    return list(csv.DictReader((files(__name__) / f"{name}.csv").read_text(encoding="utf-8").splitlines()))
