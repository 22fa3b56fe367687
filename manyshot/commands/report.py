"""`manyshot report`: tables and figures of a run, and the leaderboard of many."""

import argparse

from manyshot.terminal import answer, logger
from results.comparison import compare
from results.errors import InputError
from results.run import load_run
from results.store import Store, store_root


def run(options: argparse.Namespace) -> None:
    """Compare the checkpoints of a run, and print a table or draw a figure; or write the leaderboard."""
    if options.kind == "leaderboard":
        _leaderboard(options)
        return
    store = Store(store_root(options.store))
    if options.kind == "table" and options.name is not None:
        from manyshot.commands.paper_tables import paper_table

        answer(paper_table(options, store))
        return
    if options.kind == "submission":
        from results.submission import write_submission

        names = options.run or [load_run(store).name]
        answer(str(write_submission(store, names, options.out)))
        return
    if len(options.run or []) > 1:
        raise InputError("This shows one run; name one.")
    comparison = compare(load_run(store, options.run[0] if options.run else None), store)
    if options.kind == "table":
        from reports.table import render

        answer(render(comparison, options.format))
        return
    from reports.figures import average_against_worst, normalised_performance
    from reports.rounds import performance_over_rounds, weights_over_rounds

    draw = {
        "tasks": normalised_performance,
        "worst-task": average_against_worst,
        "rounds": performance_over_rounds,
        "weights": weights_over_rounds,
    }[options.show]
    draw(comparison, options.out)
    answer(str(options.out))


def _leaderboard(options: argparse.Namespace) -> None:
    from reports.leaderboard.page import write_page
    from results.leaderboard import gather

    stores = options.store or [store_root()]
    board = gather(stores, options.run, lambda run: logger.info("comparing %s", run))
    answer(str(write_page(board, options.out)))
