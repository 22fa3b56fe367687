"""Keeping a run in the store: its manifest, with how it was scored and the records of its checkpoints."""

from collections.abc import Mapping, Sequence

from bench.score_settings import whole
from bench.signals import ValidationSignals
from bench.suite import Suite
from manyshot.console import logger
from manyshot.experiment import Experiment
from manyshot.run_entries import RunCheckpoint
from results.record import Record
from results.run_manifest import Run, RunSettings, save_run, set_aside


def keep_run(
    name: str,
    suite: Suite,
    experiment: Experiment,
    checkpoints: Sequence[RunCheckpoint],
    records: Mapping[str, Mapping[str, Record]],
    *,
    signals: ValidationSignals,
    subsets_of: str | None = None,
) -> Run:
    """Keep a run, and give one of its name that is of other experts or tasks another name, which is said.

    Args:
        name: of the run.
        suite: that was scored.
        experiment: what it was made by.
        checkpoints: all of the run.
        records: by name of a checkpoint and benchmark.
        signals: of validation data; they have the scorer, and that the store.
        subsets_of: name of the family of runs, where it is of a subset of tasks.
    """
    store, settings = signals.scorer.store, signals.scorer.settings
    run = Run(
        name=name,
        suite=suite.spec,
        settings=RunSettings(
            limit=whole(settings.limit),
            limits=dict(settings.limits),
            preset=experiment.preset,
            seed=settings.seed,
            judge=experiment.judge,
            engine=settings.engine.name,
            subsets_of=subsets_of,
            validation=signals.data.counts,
        ),
        entries=tuple(checkpoint.with_records(records[checkpoint.scored.name]) for checkpoint in checkpoints),
    )
    if other := set_aside(store, run):
        logger.warning(
            "the store has a run '%s' of other experts or tasks; that is called '%s' now", name, other
        )
    save_run(store, run)
    return run
