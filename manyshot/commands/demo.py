"""`manyshot demo`: the whole job on tiny models made on this machine."""

import argparse

import yaml

from manyshot.commands.run import show
from manyshot.console import logger
from manyshot.experiment import SHIPPED, load_experiment
from manyshot.lab.base import BaseSettings, make_base
from manyshot.run import RunContext, run_experiment
from results.store import Store

_PROTOCOLS = ("post-hoc", "many-shot")
_SCALINGS = {"task_arithmetic": [0.2, 0.3, 0.5], "metis": [1.0, 1.5, 2.0]}
_SMOKE = {"rounds": 2, "examples": 8, "validation": 4, "batch_size": 4}
_SMOKE_LIMIT = 8
_HEADER = "# Written by `manyshot demo` each time it runs: copy it before you change it.\n"


def run(options: argparse.Namespace) -> None:
    """Make the base, run the experiment on it, and print the table."""
    base = options.out / "models" / "base"
    if not base.exists():
        logger.info("training a base, then four experts, once and in rounds: five minutes on two cores")
    make_base(base, BaseSettings.smoke() if options.smoke else BaseSettings())
    path = options.out / "experiment.yaml"
    text = yaml.safe_dump(experiment(options.smoke), sort_keys=False)
    path.write_text(_HEADER + text, encoding="utf-8")
    context = RunContext(Store(options.out / "results"), options.out)
    finished = run_experiment(load_experiment(path), "demo", context)
    show(finished, options.json)


def experiment(smoke: bool) -> dict[str, object]:
    """The lab's experiment with one seed and two methods; paths are relative to the file.

    Each method chooses its scaling among as many candidates.
    """
    lab = yaml.safe_load((SHIPPED / "lab.yaml").read_text(encoding="utf-8"))
    if smoke:
        lab |= {"train": lab["train"] | _SMOKE, "limit": _SMOKE_LIMIT}
    methods = []
    for name, scalings in _SCALINGS.items():
        # Models that know nothing score zero, by which nothing can be chosen.
        choice = {"scaling": scalings[-1]} if smoke else _choice(scalings)
        methods += [{"name": name, **choice, "protocol": protocol} for protocol in _PROTOCOLS]
    lab |= {"base": "models/base", "methods": methods, "seeds": [0]}
    return lab


def _choice(scalings: list[float]) -> dict[str, object]:
    return {"scaling": {"choose": scalings}, "objective": "worst_task"}
