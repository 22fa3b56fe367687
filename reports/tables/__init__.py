"""The tables by name: of our own runs, as a paper prints them, or both beside each other.

A module of this package adds a table with the decorator `named_table`; nothing else has to know of it.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from reports.table_model import Table
from reports.tables.published import beside
from results.errors import InputError

TableSource = Literal["ours", "paper", "both"]
TableInput = Literal["runs", "families", "signals"]
"""What a table is made of: comparisons by the name of their backbone; for each experiment, by its name,
comparisons by the tasks that they merge; or reports of signals by a title."""


@dataclass(frozen=True)
class NamedTable:
    """A table by name.

    Attributes:
        title: what it shows.
        ours: makes it of what was measured.
        paper: makes it as it is printed; None where the paper's numbers are not among the published ones.
        needs: what `ours` takes.
    """

    title: str
    ours: Callable[[Any], Table]
    paper: Callable[[], Table] | None
    needs: TableInput


TABLES: dict[str, NamedTable] = {}


def named_table(
    name: str, title: str, *, needs: TableInput = "runs", paper: Callable[[], Table] | None = None
) -> Callable[[Callable[[Any], Table]], Callable[[Any], Table]]:
    """Register the function that makes a table of our own runs.

    Args:
        name: of the table, for `manyshot report table NAME`.
        title: what it shows, for `manyshot list tables`.
        needs: what the function takes.
        paper: makes the table as the paper prints it.
    """

    def register(ours: Callable[[Any], Table]) -> Callable[[Any], Table]:
        TABLES[name] = NamedTable(title, ours, paper, needs)
        return ours

    return register


def find_table(name: str) -> NamedTable:
    """Return a table by name.

    Raises:
        InputError: there is none.
    """
    if name not in TABLES:
        raise InputError(f"no table '{name}'; there are {', '.join(TABLES)}")
    return TABLES[name]


def make_table(name: str, source: TableSource, measured: Mapping[str, Any] | None = None) -> Table:
    """Make a table by name.

    Args:
        name: one of `TABLES`.
        source: our own numbers, the paper's, or both with their differences.
        measured: what our own numbers come from, of the kind that the table needs; not read for the paper's
            alone.

    Raises:
        InputError: no such table or source, a paper's numbers are asked for that are not there, or there is
            nothing to show.
    """
    table = find_table(name)
    if source not in get_args(TableSource):
        raise InputError(f"no source '{source}'; there are {', '.join(get_args(TableSource))}")
    if source != "ours" and table.paper is None:
        raise InputError(f"{name}: the paper's numbers are not among the published tables; ask for 'ours'")
    if source == "paper" and table.paper is not None:
        return table.paper()
    if measured is None:
        raise InputError(f"{name}: name the runs that our numbers come from")
    made = table.ours(measured)
    if source == "both" and table.paper is not None:
        made = beside(made, table.paper())
    if not made.columns or not any(group.rows for group in made.groups):
        raise InputError("there is nothing to show: the runs have none of what this table is of")
    return replace(made, caption=made.caption + _brackets(made))


def _brackets(table: Table) -> str:
    """What the brackets are, where numbers have an interval over documents or over seeds."""
    values = [
        row.value(name)
        for group in table.groups
        for row in group.rows
        for name, column in table.columns.items()
        if column.interval == "bounds"
    ]
    over_documents = any(value.draws is not None and value.low is not None for value in values)
    over_seeds = any(value.over_seeds is not None for value in values)
    return " [ ]: 95 % over documents." * over_documents + " { }: 95 % over seeds." * over_seeds


for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
