"""`manyshot run`: merge experts by every method of an experiment file, score and compare."""

import argparse
import json
import re
from pathlib import Path

from bench.data import data_root
from bench.engine import EngineSettings
from bench.score_settings import ScoreSettings
from bench.suite import load_suite
from manyshot.check import check_experiment
from manyshot.console import answer, logger
from manyshot.experiment import HOMEMADE, LAB, SMOL, T5_LAB, Experiment, find_experiment, load_experiment
from manyshot.flags import given, settings_of
from manyshot.run import FinishedRun, FinishedSubsets, RunContext, run_experiment
from manyshot.run_report import has_ranks
from manyshot.workers.cluster import Workers, open_workers
from merging.chat import ChatSettings
from merging.checkpoints.kept_digests import keeping_digests
from results.errors import InputError
from results.store import Store, store_root
from results.validation import validated

_MANY_METHODS = 8
"""Merged methods from which on their ranks are printed too."""


def run(options: argparse.Namespace) -> None:
    """Run the experiment, and print its table."""
    folder = store_root(options.store) / "digests"
    with (
        keeping_digests(folder, verify=options.verify),
        open_workers(options.workers, options.ray) as workers,
    ):
        _run(options, workers)


def _run(options: argparse.Namespace, workers: Workers | None) -> None:
    file = find_experiment(options.experiment)
    name = (
        "-".join(_plain(part) for part in (file.stem, Path(options.base or "").name) if _plain(part)) or "run"
    )
    out = options.out or Path("manyshot-runs") / name
    experiment = load_experiment(file)
    changes = {
        "base": options.base,
        "limit": given(options, ScoreSettings).get("limit"),
        "seeds": options.seed,
        "subsets": options.subsets,
        "judge": options.judge,
    }
    changed = experiment.model_dump(exclude_unset=True) | {
        key: value for key, value in changes.items() if value is not None
    }
    settings_of(options, EngineSettings)
    if engine := given(options, EngineSettings):
        changed["engine"] = {**changed.get("engine", {}), **engine}
    if chat := given(options, ChatSettings):
        changed["chat"] = {**changed.get("chat", {}), **chat}
    experiment = validated(Experiment, changed, "The command line")  # for the file by itself was in order
    if options.plan or options.tokens_per_second:
        _show_plan(experiment, options)
        return
    check_experiment(experiment, load_suite(experiment.suite), name)
    if options.leaderboard is not None:
        from reports.leaderboard.page import check_folder

        check_folder(options.leaderboard)
    if experiment.base in HOMEMADE and not (Path(experiment.base) / "config.json").exists():
        logger.info("making the base of %s, or finding it made", experiment.base)
        base = make_homemade(experiment.base, out / "models" / experiment.base, data_root(options.data))
        experiment = experiment.model_copy(update={"base": str(base)})
    if experiment.train is not None:
        seeds = "a seed" if len(experiment.seeds) == 1 else f"{len(experiment.seeds)} seeds"
        rounds = experiment.train.rounds
        logger.info(
            "%d methods, %s, %d rounds; reports go to %s", len(experiment.methods), seeds, rounds, out
        )
    if workers is not None:
        experiment = experiment.model_copy(update={"engine": workers.settle(experiment.engine)})
    store, root = Store(store_root(options.store)), data_root(options.data)
    context = RunContext(
        store,
        out,
        root,
        skip_missing=options.skip_missing,
        workers=workers,
        keep_merged=options.keep_merged == "yes",
    )
    finished = run_experiment(experiment, name, context)
    show(finished, options.json)
    if options.leaderboard is not None:
        from manyshot.leaderboard import write_leaderboard

        page = write_leaderboard([store_root(options.store)], options.leaderboard)
        (logger.info if options.json else answer)(f"wrote {page}")


def _show_plan(experiment: Experiment, options: argparse.Namespace) -> None:
    """Say what the run will do, and do nothing."""
    from manyshot.commands.run_plan import order_of_steps, plan_as_json, plan_as_text, rates_of
    from manyshot.experiment_plan import plan_experiment

    if not options.plan:
        raise InputError("--tokens-per-second is of a plan: give --plan too, or leave it out.")
    rates, root = rates_of(options.tokens_per_second), data_root(options.data)
    planned = plan_experiment(experiment, root, skip_missing=options.skip_missing)
    with_workers = options.workers is not None or options.ray is not None
    order = order_of_steps(experiment, planned) if with_workers else []
    answer((plan_as_json if options.json else plan_as_text)(planned, rates, order))


def make_homemade(name: str, out: Path, root: Path | None) -> Path:
    """Make a base on this machine, or find it made."""
    if name == LAB:
        from manyshot.lab.base import make_base

        return make_base(out)
    if name == SMOL:
        from manyshot.lab.smol import smol_base

        return smol_base()
    if name == T5_LAB:
        from manyshot.lab.t5 import make_t5_base

        return make_t5_base(out)
    from manyshot.lab.glue import make_glue_base

    return make_glue_base(out, root)


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip(".-_")


def show(finished: FinishedRun | FinishedSubsets, as_json: bool) -> None:
    """Print a run's table, and where its report lies; or the table as JSON."""
    from reports.tables import make_table
    from reports.tables.comparison import render
    from reports.writers import write

    if isinstance(finished, FinishedSubsets):
        if as_json:
            rows = {"+".join(tasks): run.to_json() for tasks, run in finished.comparisons.items()}
            answer(json.dumps(rows, indent=2))
            return
        answer(finished.files[0].read_text(encoding="utf-8"))
        answer("\n".join(f"wrote {file}" for file in finished.files))
        return
    if as_json:
        answer(json.dumps(finished.comparison.to_json(), indent=2))
        return
    answer(render(finished.comparison, "terminal"))
    if has_ranks(finished.comparison, _MANY_METHODS):
        ranked = make_table("ranks", "ours", {finished.comparison.name: finished.comparison})
        answer(write(ranked, "terminal"))
    answer("\n".join(f"wrote {file}" for file in finished.files))
