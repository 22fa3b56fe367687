"""`manyshot report`: tables and figures of a run."""

import argparse

from manyshot.terminal import answer
from results.comparison import Comparison, compare
from results.errors import InputError
from results.run import load_family, load_run
from results.signals import SignalReport, read_signals
from results.store import Store, store_root


def run(options: argparse.Namespace) -> None:
    """Compare the checkpoints of a run, and print a table or draw a figure."""
    store = Store(store_root(options.store))
    if options.kind == "table":
        from reports.table import render

        answer(render(compare(load_run(store, options.run), store), options.format))
        return
    _figure(options, store)


def _figure(options: argparse.Namespace, store: Store) -> None:
    """Draw a figure, or say which there are."""
    from reports.gallery import Material, listing, picture

    if options.list:
        answer(listing())
        return
    if options.out is None:
        raise InputError("give the file to write, or --list to see what there is to show")
    runs = options.run or []

    def one_run() -> Comparison:
        if len(runs) > 1:
            raise InputError(f"{options.show} shows one run, and {len(runs)} are given; give one --run")
        return compare(load_run(store, *runs), store)

    def signals() -> SignalReport:
        if options.signals is None:
            raise InputError(
                f"{options.show} shows signals: give --signals, a file of `manyshot signals --out`"
            )
        return read_signals(options.signals)

    def several() -> list[Comparison]:
        return [compare(one, store) for one in load_family(store, runs)]

    picture(options.show).draw(Material(one_run, several, signals, options.setting), options.out)
    answer(str(options.out))
