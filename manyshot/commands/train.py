"""`manyshot train`: fine-tune an expert on a suite's task."""

import argparse

from bench.data import data_root
from bench.examples import load_shares
from bench.suite import load_suite
from manyshot.console import answer
from manyshot.flags import given, settings_of
from merging.chat import ChatSettings
from merging.checkpoints.folders import locate
from merging.examples import Example
from merging.train_settings import AdapterSettings, TrainSettings
from merging.training import is_main, train
from results.errors import InputError


def run(options: argparse.Namespace) -> None:
    """Train, and print the folder of the expert."""
    suite = load_suite(options.suite)
    if options.task not in suite.tasks:
        raise InputError(
            f"The suite {suite.name} has no task '{options.task}'; it has {', '.join(suite.tasks)}."
        )
    sources = suite.tasks[options.task].training
    if not sources:
        raise InputError(f"The suite {suite.name} names no training data for the task '{options.task}'.")
    pairs = load_shares(sources, data_root(options.data), options.examples)
    examples = [Example(*pair) for pair in pairs]
    settings = settings_of(
        options,
        TrainSettings,
        adapter=_adapter(options),
        chat=settings_of(options, ChatSettings).over(suite.chat),
    )
    made = train(locate(options.base), examples, settings, options.out)
    if is_main():
        answer(str(made))


def _adapter(options: argparse.Namespace) -> AdapterSettings | None:
    flags = given(options, AdapterSettings)
    if flags and "rank" not in flags:
        raise InputError(f"--{next(iter(flags))} is of an adapter: give its --rank too.")
    if not flags:
        return None
    alpha = {} if "alpha" in flags else {"alpha": float(flags["rank"])}
    return settings_of(options, AdapterSettings, **alpha)
