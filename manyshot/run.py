"""Running an experiment, from its file to its report. This page is the order of everything.

1. What can be known before work starts is checked.
2. The experts are opened, or trained from the base on the examples of all rounds.
3. Every method merges them for every seed: once, or in rounds with experts of their own.
4. Every checkpoint is scored on every benchmark; what has a record is not scored again.
   Workers do all of this in steps, which wait for each other.
5. The checkpoints are compared, and the report is written.
"""

import re
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bench.suite import Suite, load_suite
from manyshot.check import check_experiment
from manyshot.console import logger
from manyshot.experiment import Experiment
from manyshot.kept_run import keep_run
from manyshot.opened_run import OpenedRun
from manyshot.run_report import mark_report, report_folder, write_report, write_subsets
from manyshot.run_setup import OpenedSubsets, RunSetup
from manyshot.run_steps import run_steps
from manyshot.score_checkpoints import score_all
from manyshot.tracked_scores import report_comparison
from manyshot.workers.cluster import Workers
from manyshot.workers.steps import do_steps, do_steps_here
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
        keep_merged: keep the weights of merged checkpoints that have been scored.
    """

    store: Store
    out: Path
    data_root: Path | None = None
    skip_missing: bool = False
    workers: Workers | None = None
    keep_merged: bool = True


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
    setup = RunSetup(
        experiment,
        context.store.root,
        context.data_root,
        context.out,
        skip_missing=context.skip_missing,
        keep_merged=context.keep_merged,
    )
    finished: FinishedRun | FinishedSubsets
    with closing(setup.open()) as opened:
        _do_steps(setup, suite, opened, context.workers)
        if not subsets:
            finished = _finish(opened.of(tuple(suite.tasks)), name, context, report)
        else:
            comparisons = {}
            for subset, run_name in subsets.items():
                logger.info("merging %s", ", ".join(subset))
                folder = report / "subsets" / "+".join(subset)
                comparisons[subset] = _finish(
                    opened.of(subset), run_name, context, folder, family=name
                ).comparison
            finished = FinishedSubsets(comparisons, write_subsets(comparisons, report))
    mark_report(report, name)
    return finished


def _do_steps(setup: RunSetup, suite: Suite, opened: OpenedSubsets, workers: Workers | None) -> None:
    """Let workers do all steps, or do them one behind the other where merged weights are not kept."""
    if workers is None and setup.keep_merged:
        return
    steps = run_steps(
        setup.experiment,
        tuple(suite.tasks),
        lambda subset: [benchmark.name for benchmark in opened.of(subset).benchmarks],
    )
    if workers is None:
        do_steps_here(steps, opened.has, opened)
    else:
        opened.close()  # its engine has a device that a worker may be given
        do_steps(steps, opened.has, setup, workers, few_unscored=not setup.keep_merged)


def _finish(
    opened: OpenedRun,
    name: str,
    context: RunContext,
    report: Path,
    *,
    family: str | None = None,
) -> FinishedRun:
    """Make and score what has not been, and compare all."""
    checkpoints = list(opened.checkpoints())
    scored = [checkpoint.scored for checkpoint in checkpoints]
    records = score_all(opened.scorer, scored, opened.benchmarks)
    if not context.keep_merged:
        opened.remove_all_scored()
    run = keep_run(
        name, opened.suite, opened.experiment, checkpoints, records, signals=opened.signals, subsets_of=family
    )
    comparison = compare(run, context.store)
    files = write_report(comparison, report)
    report_comparison(opened.experiment.report_to, comparison, context.store)
    return FinishedRun(comparison, files)
