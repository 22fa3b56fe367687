"""`manyshot report table NAME`: the papers' tables, of our own runs, as printed, or both."""

import argparse
from collections.abc import Mapping
from typing import Any

from reports.tables import NamedTable, find_table, make_table
from reports.writers import write
from results.comparison import Comparison, compare
from results.errors import InputError
from results.run_manifest import Run, load_family, load_run
from results.signal_report import read_signals
from results.store import Store
from results.task_subsets import by_tasks


def paper_table(options: argparse.Namespace, store: Store) -> str:
    """Return the table that the options name, as text.

    Raises:
        InputError: a table, run or file that is named is not there, or the table needs one that is not named.
    """
    table = find_table(options.name)
    measured = None if options.source == "paper" else _measured(options, table, store)
    return write(make_table(options.name, options.source, measured), options.format)


def _measured(options: argparse.Namespace, table: NamedTable, store: Store) -> Mapping[str, Any]:
    """What the table is made of: runs by backbone, runs of subsets by experiment, or signals by folder."""
    if table.needs == "signals":
        if not options.signals:
            raise InputError(f"{options.name}: give --signals FILE, which `manyshot signals --out` writes")
        return {str(path.parent): read_signals(path) for path in options.signals}
    if table.needs == "runs":
        runs = [load_run(store, name) for name in options.run or [None]]
        titles = _backbones(runs, options.backbone)
        return {title: compare(run, store) for title, run in zip(titles, runs, strict=True)}
    families: dict[str, Mapping[tuple[str, ...], Comparison]] = {}
    for name in options.run or [""]:
        family = load_family(store, [name] if name else ())
        title = name or (family[0].settings.subsets_of or family[0].name)
        families[title] = by_tasks(compare(run, store) for run in family)
    return families


def _backbones(runs: list[Run], named: list[str] | None) -> list[str]:
    """What each run's backbone is called: as the user says, or by the base's folder or hub name."""
    if named:
        if len(named) != len(runs):
            raise InputError(f"{len(named)} backbones are named for {len(runs)} runs; name one for each")
        if len(set(named)) < len(named):
            raise InputError("two runs are given the same backbone's name; name each once")
        return named
    titles: list[str] = []
    for run in runs:
        base = run.base.path if run.base else run.name
        name = base.rstrip("/").rpartition("/")[2]
        titles.append(f"{name}, {run.name}" if name in {"", "base"} or name in titles else name)
    return titles
