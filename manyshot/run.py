"""Running an experiment, from its file to its report. This page is the order of everything.

1. What can be known before work starts is checked.
2. The experts are opened, or trained from the base on the examples of all rounds.
3. Every method merges them for every seed: once, or in rounds with experts of their own.
4. Every checkpoint is scored on every benchmark; what has a record is not scored again.
5. The checkpoints are compared, and the report is written.
"""

import re
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bench.suite import Suite, load_suite
from manyshot.check import accepted_by_task, check_experiment
from manyshot.console import logger
from manyshot.experiment import Experiment
from manyshot.kept_run import keep_run
from manyshot.opened_run import RunSetup
from manyshot.run_report import mark_report, report_folder, write_report, write_subsets
from manyshot.run_steps import run_steps
from manyshot.score_checkpoints import benchmarks_with_data, score_all
from manyshot.tracked_scores import report_comparison
from manyshot.workers.cluster import Workers
from manyshot.workers.driver import open_crew
from manyshot.workers.steps import do_steps
from results.comparison import Comparison, compare
from results.run_manifest import set_aside_unreadable
from results.store import Store
from results.task_subsets import subsets_of


@dataclass(frozen=True)
class RunContext:
    """What all steps of a run share.

    Attributes:
        store: where records and signals are looked for and kept.
        out: folder for experts (`experts/`), merged checkpoints (`merged/`) and the report (`report/`).
        data_root: local data root, or None for the hub.
        skip_missing: leave out benchmarks without data.
        workers: make checkpoints and score them, where there are some.
    """

    store: Store
    out: Path
    data_root: Path | None = None
    skip_missing: bool = False
    workers: Workers | None = None


@dataclass(frozen=True)
class FinishedRun:
    """A run's comparison, and the files of its report."""

    comparison: Comparison
    files: tuple[Path, ...]


@dataclass(frozen=True)
class FinishedSubsets:
    """Comparisons of every subset of tasks, and the files of the report over them."""

    comparisons: Mapping[tuple[str, ...], Comparison]
    files: tuple[Path, ...]


def run_experiment(experiment: Experiment, name: str, context: RunContext) -> FinishedRun | FinishedSubsets:
    """Do everything that the experiment says that is not done yet.

    Args:
        experiment: what to do.
        name: name of the run in the store.
        context: where to look and write.

    Raises:
        InputError: something that the experiment names is not there or does not fit.
    """
    suite = load_suite(experiment.suite)
    check_experiment(experiment, suite, name)
    subsets = {
        subset: f"{name}.{re.sub('[^A-Za-z0-9._-]+', '-', '+'.join(subset))}"
        for subset in subsets_of(list(suite.tasks), experiment.subsets or ())
    }
    for run_name in subsets.values() or [name]:
        if moved := set_aside_unreadable(context.store, run_name):
            logger.warning(
                "the store's manifest of the run '%s' cannot be read; it is %s now", run_name, moved
            )
    report = report_folder(context.out, name)
    finished: FinishedRun | FinishedSubsets
    if not subsets:
        finished = _run(experiment, suite, name, context, report)
    else:
        comparisons, accepted = {}, accepted_by_task(experiment)
        for subset, run_name in subsets.items():
            title = "+".join(subset)
            logger.info("merging %s", ", ".join(subset))
            comparisons[subset] = _run(
                experiment.only(subset, accepted),
                suite.but(tasks={task: suite.tasks[task] for task in subset}),
                run_name,
                context,
                report / "subsets" / title,
                family=name,
            ).comparison
        finished = FinishedSubsets(comparisons, write_subsets(comparisons, report))
    mark_report(report, name)
    return finished


def _run(
    experiment: Experiment,
    suite: Suite,
    name: str,
    context: RunContext,
    report: Path,
    *,
    family: str | None = None,
) -> FinishedRun:
    """Run an experiment on all tasks of a suite."""
    setup = RunSetup(experiment, tuple(suite.tasks), context.store.root, context.data_root, context.out)
    with closing(setup.open()) as opened:
        benchmarks = benchmarks_with_data(opened.scorer, suite.benchmarks, context.skip_missing)
        if context.workers is not None:
            opened.close()  # its engine has a device that a worker may be given
            do_steps(run_steps(experiment, setup.tasks), opened.has, setup, context.workers)
        checkpoints = list(opened.checkpoints())
        scored = [checkpoint.scored for checkpoint in checkpoints]
        with open_crew(context.workers, opened.scoring) as crew:
            records = score_all(opened.scorer, scored, benchmarks, crew)
    run = keep_run(name, suite, experiment, checkpoints, records, signals=opened.signals, subsets_of=family)
    comparison = compare(run, context.store)
    files = write_report(comparison, report)
    report_comparison(experiment.report_to, comparison, context.store)
    return FinishedRun(comparison, files)
