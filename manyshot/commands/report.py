"""`manyshot report`: tables, figures, two checkpoints head to head, submissions, the leaderboard."""

import argparse
import json

from manyshot.terminal import answer, logger
from results.comparison import compare
from results.errors import InputError
from results.run import load_run
from results.store import Store, store_root


def run(options: argparse.Namespace) -> None:
    """Print a table, draw a figure, compare two checkpoints, or write a submission or the leaderboard."""
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
    name = options.run[0] if options.run else None
    if options.kind == "compare":
        _compare_two(options, store, name)
        return
    comparison = compare(load_run(store, name), store)
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


def _compare_two(options: argparse.Namespace, store: Store, run: str | None) -> None:
    from reports.comparing import comparing_text
    from results.head_to_head import head_to_head

    if options.documents is not None and options.documents < 0:
        raise InputError(f"--documents must be 0 or more, not {options.documents}")
    if options.documents and options.format == "csv" and not options.json:
        raise InputError("CSV has a row for each benchmark; list documents with --json or another format")
    has_runs = any((store.root / "runs").glob("[!.]*.json"))
    found = head_to_head(
        (options.first, options.second),
        store,
        load_run(store, run) if run or has_runs else None,
        _higher_is_better,
        most=1 if options.documents is None else options.documents,
    )
    answer(json.dumps(found.to_json(), indent=2) if options.json else comparing_text(found, options.format))


def _higher_is_better(benchmark: str) -> bool:
    """Whether the registry says so; of a benchmark that it has no longer, too."""
    from bench.registry import load_benchmark

    try:
        return load_benchmark(benchmark).higher_is_better
    except InputError:
        return True


def _leaderboard(options: argparse.Namespace) -> None:
    from reports.leaderboard.page import write_page
    from results.leaderboard import gather

    stores = options.store or [store_root()]
    board = gather(stores, options.run, lambda run: logger.info("comparing %s", run))
    answer(str(write_page(board, options.out)))
