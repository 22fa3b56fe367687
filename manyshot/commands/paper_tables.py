"""`manyshot report table NAME`: the papers' tables, of our own runs, as printed, or both."""

import argparse
from collections.abc import Mapping

from reports.papers import Measured, find_table, paper_sheet
from reports.table import render_sheet
from results.comparison import Comparison, compare
from results.errors import InputError
from results.run import SUBSETS_OF, Run, load_family, load_run
from results.signals import read_signals
from results.store import Store
from results.subsets import by_tasks


def paper_table(options: argparse.Namespace, store: Store) -> str:
    """Return the table that the options name, as text.

    Raises:
        InputError: a table, run or file that is named is not there, or the table needs one that is not named.
    """
    table = find_table(options.name)
    measured = None
    if options.source != "paper":
        families: dict[str, Mapping[tuple[str, ...], Comparison]] = {}
        runs: dict[str, Comparison] = {}
        names = options.run or [None]
        if table.needs == "signals" and not options.signals:
            raise InputError(f"{options.name}: give --signals FILE, which `manyshot signals --out` writes")
        if table.needs == "runs":
            loaded = [load_run(store, name) for name in names]
            titles = _backbones(loaded, options.backbone)
            runs = {title: compare(run, store) for title, run in zip(titles, loaded, strict=True)}
        if table.needs == "families":
            for name in options.run or [""]:
                runs_of = load_family(store, [name] if name else ())
                title = name or str(runs_of[0].settings.get(SUBSETS_OF) or runs_of[0].name)
                families[title] = by_tasks(compare(run, store) for run in runs_of)
        signals = {str(path.parent): read_signals(path) for path in options.signals or []}
        measured = Measured(runs, families, signals)
    return render_sheet(paper_sheet(options.name, options.source, measured), options.format)


def _backbones(runs: list[Run], named: list[str] | None) -> list[str]:
    """What each run's backbone is called: as the user says, or by the base's folder or hub name."""
    if named:
        if len(named) != len(runs):
            raise InputError(f"{len(named)} backbones are named for {len(runs)} runs; name one for each")
        if len(set(named)) < len(named):
            raise InputError("two runs are given the same backbone's name; name each once")
        return named
    found: list[str] = []
    for run in runs:
        base = next((entry.path for entry in run.entries if entry.role == "base"), run.name)
        name = base.rstrip("/").rpartition("/")[2]
        found.append(f"{name}, {run.name}" if name in {"", "base"} or name in found else name)
    return found
