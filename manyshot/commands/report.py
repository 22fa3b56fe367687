"""`manyshot report`: tables, figures, two checkpoints head to head, the leaderboard, submissions."""

import argparse
import json
from typing import TYPE_CHECKING

from manyshot.console import answer
from manyshot.leaderboard import write_leaderboard
from results.errors import InputError
from results.run_manifest import load_family, load_run
from results.store import Store, store_root

if TYPE_CHECKING:  # a leaderboard of runs that were compared before is made in less time than their import
    from results.comparison import Comparison
    from results.search_report import SearchReport
    from results.signal_report import SignalReport


def run(options: argparse.Namespace) -> None:
    """Show what a run or a store says, in the form that is asked for."""
    if options.kind == "leaderboard":
        stores = [store_root(path) for path in options.store or [None]]
        answer(str(write_leaderboard(stores, options.out, options.run or ())))
        return
    store = Store(store_root(options.store))
    if options.kind == "figure":
        _figure(options, store)
        return
    if options.kind == "submission":
        from results.submission import write_submission

        names = options.run or [load_run(store).name]
        answer(str(write_submission(store, names, options.out)))
        return
    if options.kind == "table" and options.name is not None:
        from manyshot.commands.paper_tables import paper_table

        answer(paper_table(options, store))
        return
    if len(options.run or []) > 1:
        raise InputError(f"{options.kind} shows one run, and {len(options.run)} are given; give one --run")
    name = options.run[0] if options.run else None
    if options.kind == "compare":
        _compare_two(options, store, name)
        return
    from reports.tables.comparison import render
    from results.comparison import compare

    answer(render(compare(load_run(store, name), store), options.format))


def _figure(options: argparse.Namespace, store: Store) -> None:
    """Draw a figure."""
    from reports.figures import Material, draw_figure
    from results.comparison import compare
    from results.search_report import read_search
    from results.signal_report import read_signals

    runs = options.run or []

    def one_run() -> "Comparison":
        if len(runs) > 1:
            raise InputError(f"{options.show} shows one run, and {len(runs)} are given; give one --run")
        return compare(load_run(store, *runs), store)

    def signals() -> "SignalReport":
        if options.signals is None:
            raise InputError(
                f"{options.show} shows signals: give --signals, a file of `manyshot signals --out`"
            )
        return read_signals(options.signals)

    def search() -> "SearchReport":
        if options.search is None:
            raise InputError(
                f"{options.show} shows a search: give --search, a search.json of `manyshot search`"
            )
        return read_search(options.search)

    def several() -> "list[Comparison]":
        return [compare(run, store) for run in load_family(store, runs)]

    draw_figure(options.show, Material(one_run, several, signals, search, options.setting), options.out)
    answer(str(options.out))


def _compare_two(options: argparse.Namespace, store: Store, run: str | None) -> None:
    from reports.tables.head_to_head import head_to_head_text
    from results.head_to_head import head_to_head

    if options.documents is not None and options.documents < 0:
        raise InputError(f"--documents must be 0 or more, not {options.documents}")
    if options.documents and options.format == "csv" and not options.json:
        raise InputError("CSV has a row for each benchmark; list documents with --json or another format")
    has_runs = any((store.root / "runs").glob("[!.]*.json"))
    comparison = head_to_head(
        (options.first, options.second),
        store,
        load_run(store, run) if run or has_runs else None,
        _higher_is_better,
        most=1 if options.documents is None else options.documents,
    )
    answer(
        json.dumps(comparison.to_json(), indent=2)
        if options.json
        else head_to_head_text(comparison, options.format)
    )


def _higher_is_better(benchmark: str) -> bool:
    """Whether the registry says so; of a benchmark that it has no longer, too."""
    from bench.suite import load_benchmark

    try:
        return load_benchmark(benchmark).higher_is_better
    except InputError:
        return True
