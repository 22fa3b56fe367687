"""`manyshot demo`: the whole job on a family of tiny models made on this machine."""

import argparse

import yaml

from manyshot.commands.run import show
from manyshot.experiment import load_experiment
from manyshot.lab.family import Family, FamilySettings, make_family
from manyshot.runner import run_experiment
from manyshot.terminal import logger
from results.store import Store

_METHODS = [
    {"name": "average"},
    *({"name": "task_arithmetic", "scaling": scaling} for scaling in (0.3, 0.5, 1.0)),
    {"name": "dare", "drop_rate": 0.5, "scaling": 0.5},
    {"name": "ties", "density": 0.2, "scaling": 1.0},
    {"name": "consensus_ta", "scaling": 0.7},
]

_SMOKE_LIMIT = 8
_HEADER = "# Written by `manyshot demo` each time it runs: copy it before you change it.\n"


def run(options: argparse.Namespace) -> None:
    """Make the family, run the experiment on it, and print the table."""
    if not (options.out / "models").exists():
        logger.info("training a base and four experts, which takes about two minutes on two cores")
    family = make_family(
        options.out / "models", FamilySettings.smoke() if options.smoke else FamilySettings()
    )
    path = options.out / "experiment.yaml"
    experiment = _experiment(family) | ({"limit": _SMOKE_LIMIT} if options.smoke else {})
    path.write_text(_HEADER + yaml.safe_dump(experiment, sort_keys=False), encoding="utf-8")
    finished = run_experiment(
        load_experiment(path), "demo", options.out, store=Store(options.out / "results")
    )
    show(finished, options.json)


def _experiment(family: Family) -> dict[str, object]:
    """The experiment file of the demo, with paths relative to it, to be copied and changed."""
    folder = family.base.parent.parent
    return {
        "suite": "lab",
        "base": str(family.base.relative_to(folder)),
        "experts": {task: str(path.relative_to(folder)) for task, path in family.experts.items()},
        "methods": _METHODS,
    }
