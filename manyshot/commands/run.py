"""`manyshot run`: merge experts by every method of an experiment file, score and compare."""

import argparse
import json
import re
from pathlib import Path

from bench.data import data_root
from manyshot.experiment import load_experiment
from manyshot.runner import Finished, run_experiment
from manyshot.terminal import answer
from results.store import Store, store_root


def run(options: argparse.Namespace) -> None:
    """Run the experiment, and print its table."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", options.experiment.stem).strip(".-_") or "run"
    finished = run_experiment(
        load_experiment(options.experiment),
        name,
        options.out or Path("manyshot-runs") / name,
        store=Store(store_root(options.store)),
        data_root=data_root(options.data),
        skip_missing=options.skip_missing,
    )
    show(finished, options.json)


def show(finished: Finished, as_json: bool) -> None:
    """Print a run's table, and where its report lies; or the table as JSON."""
    from reports.table import render

    if as_json:
        answer(json.dumps(finished.comparison.to_json(), indent=2))
        return
    answer(render(finished.comparison, "terminal"))
    answer("\n".join(f"wrote {file}" for file in finished.files))
