"""`manyshot train`: fine-tune an expert on a suite's task."""

import argparse

from bench.data import data_root
from bench.examples import load_examples
from bench.registry import load_suite
from manyshot.terminal import answer
from merging.checkpoint import Checkpoint
from merging.train_settings import TrainSettings
from merging.training import Example, train
from results.errors import InputError

_SETTINGS = ("epochs", "max_steps", "learning_rate", "batch_size", "loss", "max_length", "seed")


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
    examples = [Example(*pair) for pair in load_examples(sources, data_root(options.data))]
    given = {name: getattr(options, name) for name in _SETTINGS if getattr(options, name) is not None}
    base = Checkpoint.open(options.base).folder
    answer(str(train(base, examples, TrainSettings(**given), options.out)))
