"""The experts of an experiment, given or trained, and what validation data say of them."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from bench.examples import load_shares
from bench.scored_checkpoint import ScoredCheckpoint
from bench.scoring import Scorer
from bench.signals import ValidationSignals
from bench.suite import Suite
from manyshot.console import logger
from manyshot.experiment import Experiment
from manyshot.planned_merges import expert_label
from manyshot.score_checkpoints import shown_progress
from merging.examples import Example
from merging.experts import ExpertTraining


def open_signals(
    experiment: Experiment, suite: Suite, scorer: Scorer, root: Path | None
) -> ValidationSignals:
    """What validation data say of checkpoints, by the settings that experts are trained with."""
    train, training, limit = experiment.train, None, None
    if train is not None:
        training = train.one_round_settings.but(max_length=train.loss_max_length or train.max_length)
        limit = train.validation
    return ValidationSignals(scorer, suite, root, training=training, limit=limit, progress=shown_progress)


def training_examples(experiment: Experiment, suite: Suite, root: Path | None) -> dict[str, list[Example]]:
    """By task, what experts learn; nothing where they are given."""
    if experiment.train is None:
        return {}
    most = experiment.train.examples
    return {
        name: [Example(*pair) for pair in load_shares(task.training, root, most)]
        for name, task in suite.tasks.items()
    }


def train_experts(
    experiment: Experiment,
    base: ScoredCheckpoint,
    examples: Mapping[str, list[Example]],
    seed: int | None,
    *,
    signals: ValidationSignals,
    out: Path,
) -> dict[str, ScoredCheckpoint]:
    """Train every task's expert from the base for all rounds' epochs at once, or find it trained.

    Merges that are done once take these experts, and every score is divided by theirs.
    """

    def begin(task: str) -> None:
        logger.info("training the %s", expert_label(experiment, task, seed))
        signals.free()

    experts = {}
    for task in examples:
        training = standalone_training(experiment, base, examples, task, seed, signals=signals, out=out)
        opened = ScoredCheckpoint.open(str(training.expert(begin)))
        experts[task] = replace(opened, name=expert_label(experiment, task, seed))
    return experts


def standalone_training(
    experiment: Experiment,
    base: ScoredCheckpoint,
    examples: Mapping[str, list[Example]],
    task: str,
    seed: int | None,
    *,
    signals: ValidationSignals,
    out: Path,
) -> ExpertTraining:
    """Return the training of a task's expert from the base for all rounds' epochs at once."""
    assert experiment.train is not None and seed is not None
    settings = experiment.train.all_rounds_settings(seed)
    settings = settings.but(chat=signals.scorer.chat, report_to=experiment.report_to)
    return ExpertTraining(base.path, task, examples[task], settings, out.resolve() / "experts")
