"""A run that can start: all that its experiment names is opened, and each step can be done by itself."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.engine import EngineSettings
from bench.scored_checkpoint import ScoredCheckpoint
from bench.signals import ValidationSignals
from bench.suite import load_suite
from manyshot.console import logger
from manyshot.experiment import Experiment
from manyshot.experiment_scorer import scoring_setup
from manyshot.experts import open_signals, standalone_training, train_experts, training_examples
from manyshot.planned_merges import PlannedMerge, expert_label, needs_of, planned_merges
from manyshot.run_entries import RunCheckpoint, merged_checkpoints, run_checkpoint
from manyshot.run_steps import RunStep
from merging.experts import Expert, ExpertTraining, GivenExperts, TrainedExperts
from merging.many_shot import MergePlan, MergeRound, has_round, run_rounds, select_round
from merging.recipe import MethodSpec


@dataclass(frozen=True)
class RunSetup:
    """What a process must know to do steps of a run; values that can be sent.

    Attributes:
        experiment: what is done.
        tasks: of its suite, which are merged.
        store: folder of the store.
        data_root: local data root, or None for the hub.
        out: folder for experts and merged checkpoints.
    """

    experiment: Experiment
    tasks: tuple[str, ...]
    store: Path
    data_root: Path | None
    out: Path

    @property
    def engine(self) -> EngineSettings:
        """Of each worker, which has a GPU where trainings would use one."""
        train, engine = self.experiment.train, self.experiment.engine
        return engine.but(device="auto") if train is not None and not train.cpu else engine

    @property
    def logs(self) -> Path:
        """Folder for what workers say."""
        return self.out / "logs"

    def open(self) -> "OpenedRun":
        """Open all that the steps need.

        Raises:
            InputError: something that the experiment names is not there or does not fit.
        """
        return OpenedRun(self)


class OpenedRun:
    """Makes the checkpoints of a run; what is there is not made again.

    Args:
        setup: of the run.

    Attributes:
        suite: with the tasks that are merged.
        scoring: how all checkpoints are scored.
        scorer: that scores them so.
        signals: of checkpoints on validation data.

    Raises:
        InputError: something that the experiment names is not there or does not fit.
    """

    def __init__(self, setup: RunSetup) -> None:
        experiment = self._experiment = setup.experiment
        self._out = setup.out
        suite = load_suite(experiment.suite)
        self.suite = suite.but(tasks={task: suite.tasks[task] for task in setup.tasks})
        self._base = ScoredCheckpoint.open(experiment.base)
        paths = experiment.experts or {}
        self._given = {task: ScoredCheckpoint.open(paths[task]) for task in setup.tasks if paths}
        opened = [self._base, *self._given.values()]
        self.scoring = scoring_setup(
            experiment, self.suite, opened, setup.store, setup.data_root, asked_by="An experiment scores"
        )
        self.scorer = self.scoring.open_scorer()
        self.scorer.chat_forms.check(opened)
        self.signals = open_signals(experiment, self.suite, self.scorer, setup.data_root)
        for method in experiment.methods:
            self.signals.check(needs_of(experiment, method))
        self._examples = training_examples(experiment, self.suite, setup.data_root)
        self._groups = list(planned_merges(experiment))
        self._experts: dict[int | None, dict[str, ScoredCheckpoint]] = {}

    def close(self) -> None:
        """Stop the engine."""
        self.scorer.close()

    def checkpoints(self) -> Iterator[RunCheckpoint]:
        """Yield the base, the experts of every seed, and what every method merges, each made or found."""
        yield run_checkpoint("base", "base", self._base)
        for group in self._groups:
            for task, expert in self._experts_of(group.seed).items():
                label = expert_label(self._experiment, task, group.seed)
                yield run_checkpoint(label, "expert", expert, task=task, seed=group.seed)
            for planned in group.merges:
                plan, rounds = self._plan(group.seed, planned), self._rounds(group.seed, planned)
                signals = self._signals_of(group.seed, planned)
                selection = select_round(rounds, planned.method.keep, signals)
                yield from merged_checkpoints(planned, plan, rounds, selection)

    def do(self, step: RunStep) -> None:
        """Do a step whose earlier ones are done, unless it is done itself.

        Raises:
            InputError: it cannot be done.
        """
        if step.task is not None:
            self._training(step, step.task).expert(lambda _: self.signals.free())
            return
        planned = self._planned(step)
        rounds = self._rounds(step.seed, planned, last=step.round_index)
        if step.round_index == planned.rounds:  # what choosing among them measures is kept
            select_round(rounds, planned.method.keep, self._signals_of(step.seed, planned))

    def has(self, step: RunStep) -> bool:
        """Whether a step is done whose earlier ones are."""
        if step.task is not None:
            return self._training(step, step.task).out.exists()
        planned = self._planned(step)
        plan, signals = self._plan(step.seed, planned), self._signals_of(step.seed, planned)
        if not has_round(plan, self._out, signals, planned.title, step.round_index):
            return False
        if step.round_index < planned.rounds or planned.method.keep == "last":
            return True
        merged = [one.merged for one in self._rounds(step.seed, planned)]
        experts = self._experts_of(step.seed).items()
        return all(
            signals.has_scores(checkpoint, task)
            for task, expert in experts
            for checkpoint in (*merged, expert.path)
        )

    def _training(self, step: RunStep, task: str) -> ExpertTraining:
        """The training of an expert."""
        if step.title is None:
            return standalone_training(
                self._experiment, self._base, self._examples, task, step.seed,
                signals=self.signals, out=self._out,
            )  # fmt: skip
        planned, start = self._planned(step), self._experiment.base
        if step.round_index > 1:
            start = str(self._rounds(step.seed, planned, last=step.round_index - 1)[-1].merged)
        trained = self._trained_in_rounds()
        return trained.round_training(task, step.round_index, start, planned.seed or 0, self._out.resolve())

    def _rounds(self, seed: int | None, planned: PlannedMerge, last: int | None = None) -> list[MergeRound]:
        """The rounds of a merge up to one, made where they are not there."""
        return run_rounds(
            self._plan(seed, planned),
            self._out,
            self._signals_of(seed, planned),
            title=planned.title,
            last=last,
            announce=partial(logger.info, "%s: %s", planned.title),
        )

    def _planned(self, step: RunStep) -> PlannedMerge:
        return next(
            planned for group in self._groups for planned in group.merges if planned.title == step.title
        )

    def _experts_of(self, seed: int | None) -> dict[str, ScoredCheckpoint]:
        """The experts by whose scores others are divided, given, or trained where they are not there."""
        if seed not in self._experts:
            self._experts[seed] = self._given or train_experts(
                self._experiment, self._base, self._examples, seed, signals=self.signals, out=self._out
            )
        return self._experts[seed]

    def _signals_of(self, seed: int | None, planned: PlannedMerge) -> ValidationSignals:
        """What validation data say; over the scores of a seed's experts, where a merge asks for scores."""
        if not needs_of(self._experiment, planned.method).scores:
            return self.signals
        return self.signals.with_references(
            {task: expert.path for task, expert in self._experts_of(seed).items()}
        )

    def _trained_in_rounds(self) -> TrainedExperts:
        assert self._experiment.train is not None
        settings = self._experiment.train.one_round_settings
        return TrainedExperts(
            self._examples,
            settings.but(chat=self.signals.scorer.chat, report_to=self._experiment.report_to),
        )

    def _as_given(self, seed: int | None) -> GivenExperts:
        """Experts as a merge that is done once takes them, by the names that the experiment gives them."""
        names, experts = self._experiment.experts or {}, self._experts_of(seed)
        return GivenExperts(
            {
                task: Expert(names.get(task, str(checkpoint.path)), checkpoint.path)
                for task, checkpoint in experts.items()
            },
            {task: checkpoint.identity.digest for task, checkpoint in experts.items()},
        )

    def _plan(self, seed: int | None, planned: PlannedMerge) -> MergePlan:
        """What a method merges, and how."""
        method, experiment = planned.method, self._experiment
        return MergePlan(
            base=experiment.base,
            base_digest=self._base.identity.digest,
            experts=self._trained_in_rounds() if method.in_rounds else self._as_given(seed),
            method=MethodSpec(name=method.name, **method.settings),
            weighting=method.task_weighting,
            rounds=planned.rounds,
            objective=method.objective,
            anchor=method.anchor,
            space=method.space,
            output_dtype=experiment.output_dtype,
            seed=planned.seed or 0,
            accept_differences=experiment.accept_differences,
        )
