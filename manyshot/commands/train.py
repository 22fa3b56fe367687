"""`manyshot train`: fine-tune an expert on a suite's task."""

import argparse

from bench.data import data_root
from bench.examples import load_shares
from bench.registry import load_suite
from manyshot.terminal import answer
from merging.checkpoints.folders import locate
from merging.examples import Example
from merging.train_settings import AdapterSettings, TrainSettings
from merging.training import is_main, train
from results.errors import InputError
from results.validation import validated

_SETTINGS = (
    "epochs",
    "max_steps",
    "learning_rate",
    "batch_size",
    "accumulation",
    "loss",
    "max_length",
    "seed",
)


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
    if options.examples is not None and options.examples < 1:
        raise InputError(f"The number of examples (--examples) is {options.examples}; 1 or more is expected.")
    pairs = load_shares(sources, data_root(options.data), options.examples)
    examples = [Example(*pair) for pair in pairs]
    given = {name: getattr(options, name) for name in _SETTINGS if getattr(options, name) is not None}
    given |= {"adapter": _adapter(options), "report_to": tuple(options.report_to or ())}
    settings = validated(TrainSettings, given, "The command line")
    made = train(locate(options.base), examples, settings, options.out)
    if is_main():
        answer(str(made))


def _adapter(options: argparse.Namespace) -> AdapterSettings | None:
    if options.rank is None:
        if options.alpha is not None or options.targets:
            raise InputError("--alpha and --targets are of an adapter: give its --rank too.")
        return None
    alpha = options.rank if options.alpha is None else options.alpha
    given = {"rank": options.rank, "alpha": alpha} | (
        {"targets": tuple(options.targets)} if options.targets else {}
    )
    return validated(AdapterSettings, given, "The command line")
