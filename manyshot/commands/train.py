"""`manyshot train`: fine-tune experts on tasks of a suite."""

import argparse
from pathlib import Path

from bench.data import data_root
from bench.engine import EngineSettings
from bench.suite import load_suite
from manyshot.console import answer
from manyshot.flags import given, settings_of
from manyshot.run_steps import RunStep
from manyshot.task_trainings import TrainingSetup
from manyshot.workers.cluster import Workers, open_workers
from manyshot.workers.steps import do_steps
from merging.chat import ChatSettings
from merging.checkpoints.kept_digests import keeping_digests
from merging.optimise import is_main
from merging.train_settings import AdapterSettings, TrainSettings
from results.errors import InputError
from results.store import store_root


def run(options: argparse.Namespace) -> None:
    """Train, and print the folder of each expert."""
    settings = settings_of(
        options,
        TrainSettings,
        adapter=_adapter(options),
        chat=settings_of(options, ChatSettings).over(load_suite(options.suite).chat),
    )
    tasks, store = list(dict.fromkeys(options.task)), store_root(None)
    with (
        keeping_digests(store / "digests"),
        open_workers(options.workers, options.ray) as workers,
    ):
        engine = EngineSettings(device="cpu" if settings.cpu else "auto")
        setup = TrainingSetup(
            options.suite,
            options.base,
            settings,
            options.examples,
            data_root(options.data),
            options.out,
            store,
            workers.settle(engine) if workers else engine,
        )
        trained = _trained(setup, tasks, workers)
    if is_main():
        answer("\n".join(map(str, trained)))


def _trained(setup: TrainingSetup, tasks: list[str], workers: Workers | None) -> list[Path]:
    trainings = setup.open()
    if len(tasks) == 1:
        if workers is not None:
            raise InputError(
                "--workers and --ray are for several tasks: name another --task, or leave them out."
            )
        return [trainings.train(tasks[0], setup.out)]
    for task in tasks:
        trainings.examples(task)
    steps = [RunStep(task, task=task) for task in tasks]  # none waits for another
    if workers is not None:
        do_steps(steps, trainings.has, setup, workers)
    else:
        for step in steps:
            trainings.do(step)
    return [setup.out / task for task in tasks]


def _adapter(options: argparse.Namespace) -> AdapterSettings | None:
    flags = given(options, AdapterSettings)
    if flags and "rank" not in flags:
        raise InputError(f"--{next(iter(flags))} is of an adapter: give its --rank too.")
    if not flags:
        return None
    alpha = {} if "alpha" in flags else {"alpha": float(flags["rank"])}
    return settings_of(options, AdapterSettings, **alpha)
