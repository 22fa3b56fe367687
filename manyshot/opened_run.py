"""A run that can start: all that its experiment names is opened, and each step can be done by itself."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from bench.scored_checkpoint import ScoredCheckpoint
from bench.signals import ValidationSignals
from bench.suite import load_suite
from manyshot.console import ScoringProgress, logger
from manyshot.experiment_scorer import scoring_setup
from manyshot.experts import open_signals, standalone_training, train_experts, training_examples
from manyshot.planned_merges import PlannedMerge, expert_label, needs_of, planned_merges
from manyshot.run_entries import RunCheckpoint, merged_checkpoints, opened_round, run_checkpoint
from manyshot.run_steps import RunStep
from manyshot.score_checkpoints import benchmarks_with_data, score_here
from manyshot.scoring_plan import plan_scoring
from merging.checkpoints.folders import are_removed
from merging.checkpoints.removed import remove_folder, remove_weights
from merging.experts import Expert, ExpertTraining, GivenExperts, TrainedExperts
from merging.many_shot import MergePlan, MergeRound, found_rounds, run_rounds, select_round
from merging.recipe import MethodSpec

if TYPE_CHECKING:
    from manyshot.run_setup import RunSetup


class OpenedRun:
    """Makes the checkpoints of a run on some tasks, and scores them; what is there is not made again.

    Args:
        setup: of the run.
        tasks: of its suite, which are merged.

    Attributes:
        experiment: with the experts that are merged.
        suite: with the tasks that are merged.
        scoring: how all checkpoints are scored.
        scorer: that scores them so.
        benchmarks: on which they are scored.
        signals: of checkpoints on validation data.

    Raises:
        InputError: something that the experiment names is not there or does not fit.
    """

    def __init__(self, setup: "RunSetup", tasks: Sequence[str]) -> None:
        experiment = self.experiment = setup.experiment
        self._out, self._keeps_merged = setup.out, setup.keep_merged
        suite = load_suite(experiment.suite)
        self.suite = suite.but(tasks={task: suite.tasks[task] for task in tasks})
        self._base = ScoredCheckpoint.open(experiment.base)
        paths = experiment.experts or {}
        self._given = {task: ScoredCheckpoint.open(paths[task]) for task in tasks if paths}
        opened = [self._base, *self._given.values()]
        self.scoring = scoring_setup(
            experiment, self.suite, opened, setup.store, setup.data_root, asked_by="An experiment scores"
        )
        self.scorer = self.scoring.open_scorer()
        self.scorer.chat_forms.check(opened)
        self.benchmarks = benchmarks_with_data(self.scorer, self.suite.benchmarks, setup.skip_missing)
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
                label = expert_label(self.experiment, task, group.seed)
                yield run_checkpoint(label, "expert", expert, task=task, seed=group.seed)
            for planned in group.merges:
                self._forget_removed(group.seed, planned)
                plan, rounds = self._plan(group.seed, planned), self._rounds(group.seed, planned)
                signals = self._signals_of(group.seed, planned)
                selection = select_round(rounds, planned.method.keep, signals)
                yield from merged_checkpoints(planned, plan, rounds, selection)

    def do(self, step: RunStep) -> None:
        """Do a step whose earlier ones are done, unless it is done itself.

        Raises:
            InputError: it cannot be done.
        """
        if step.benchmarks:
            self._score(step)
        elif step.task is not None:
            self._training(step, step.task).expert(lambda _: self.signals.free())
        else:
            planned = self._planned(step)
            self._forget_removed(step.seed, planned)
            rounds = self._rounds(step.seed, planned, last=step.round_index)
            if step.round_index == planned.rounds:  # what choosing among them measures is kept
                select_round(rounds, planned.method.keep, self._signals_of(step.seed, planned))

    def has(self, step: RunStep) -> bool:
        """Whether a step is done whose earlier ones are."""
        if step.benchmarks:
            return self._has_records(self._checkpoint(step), step.benchmarks)
        if step.task is not None:
            return self._training(step, step.task).out.exists()
        planned = self._planned(step)
        rounds = self._found_rounds(step.seed, planned)
        if step.round_index > len(rounds) or self._lacks_removed(step.seed, planned, rounds):
            return False
        return step.round_index < planned.rounds or self._has_selection(step.seed, planned, rounds)

    def remove_scored(self, seed: int | None, planned: PlannedMerge) -> None:
        """Remove the weights of a merge's rounds that nothing is left to be done with."""
        rounds = self._found_rounds(seed, planned)
        for place, merge_round in enumerate(rounds):
            if not self._is_wanted(seed, planned, rounds, place):
                remove_weights(merge_round.merged)

    def remove_all_scored(self) -> None:
        """Remove all merged weights that nothing is left to be done with."""
        for group in self._groups:
            for planned in group.merges:
                self.remove_scored(group.seed, planned)

    def _score(self, step: RunStep) -> None:
        """Make the records of a checkpoint that are not there."""
        wanted = [benchmark for benchmark in self.benchmarks if benchmark.name in step.benchmarks]
        plan = plan_scoring(self.scorer, [self._checkpoint(step)], wanted)
        progress = ScoringProgress(plan.lacking)
        with progress.shown():
            score_here(self.scorer, plan, wanted, progress)
        if step.title is not None and not self._keeps_merged:
            self.remove_scored(step.seed, self._planned(step))

    def _checkpoint(self, step: RunStep) -> ScoredCheckpoint:
        """What a step scores, called as the run's table calls it."""
        if step.title is None and step.task is None:
            return self._base
        if step.title is None and step.task is not None:
            if self._given:
                return self._given[step.task]
            expert = ScoredCheckpoint.open(str(self._training(step, step.task).out))
            return replace(expert, name=expert_label(self.experiment, step.task, step.seed))
        planned = self._planned(step)
        rounds = self._rounds(step.seed, planned, last=step.round_index)
        counts = planned.rounds
        if planned.method.keep != "last":
            signals = self._signals_of(step.seed, planned)
            counts = select_round(self._rounds(step.seed, planned), planned.method.keep, signals).round_index
        is_title = step.round_index == counts
        return opened_round(rounds[-1], planned.title if is_title else planned.round_label(step.round_index))

    def _has_records(self, checkpoint: ScoredCheckpoint, benchmarks: Sequence[str]) -> bool:
        """Whether a checkpoint has been scored on benchmarks."""
        return all(self.scorer.has(checkpoint, one) for one in self.benchmarks if one.name in benchmarks)

    def _has_selection(self, seed: int | None, planned: PlannedMerge, rounds: Sequence[MergeRound]) -> bool:
        """Whether nothing is left to be measured to choose the round that counts."""
        if planned.method.keep == "last":
            return True
        signals, experts = self._signals_of(seed, planned), self._experts_of(seed).items()
        return all(
            signals.has_scores(checkpoint, task)
            for task, expert in experts
            for checkpoint in (*(one.merged for one in rounds), expert.path)
        )

    def _is_wanted(
        self, seed: int | None, planned: PlannedMerge, rounds: Sequence[MergeRound], place: int
    ) -> bool:
        """Whether something is left to be done with the weights of one of the rounds that are there."""
        if place + 1 == len(rounds) < planned.rounds:  # the next round starts from them
            return True
        chosen_by = [other for other in self._same_rounds(seed, planned) if other.method.keep != "last"]
        if chosen_by and (len(rounds) < planned.rounds or not self._has_experts(seed)):
            return True
        if not all(self._has_selection(seed, other, rounds) for other in chosen_by):
            return True
        names = [benchmark.name for benchmark in self.benchmarks]
        return not self._has_records(ScoredCheckpoint.open(str(rounds[place].merged)), names)

    def _same_rounds(self, seed: int | None, planned: PlannedMerge) -> list[PlannedMerge]:
        """The merges of the experiment that have the rounds of one, which they call otherwise."""
        return [
            other
            for group in self._groups
            if group.seed == seed
            for other in group.merges
            if other.made_of == planned.made_of
        ]

    def _has_experts(self, seed: int | None) -> bool:
        """Whether the experts are there by whose scores others are divided."""
        steps = (RunStep(task, seed, task) for task in self.suite.tasks)
        return bool(self._given) or all(self.has(step) for step in steps)

    def _lacks_removed(self, seed: int | None, planned: PlannedMerge, rounds: Sequence[MergeRound]) -> bool:
        """Whether weights were removed with which something is to be done, as by another experiment."""
        return any(
            are_removed(one.merged) and self._is_wanted(seed, planned, rounds, place)
            for place, one in enumerate(rounds)
        )

    def _forget_removed(self, seed: int | None, planned: PlannedMerge) -> None:
        """Remove what is left of removed checkpoints where it is not enough, so that they are made again."""
        rounds = self._found_rounds(seed, planned)
        if self._lacks_removed(seed, planned, rounds):
            for merge_round in rounds:
                if are_removed(merge_round.merged):
                    remove_folder(merge_round.merged)

    def _found_rounds(self, seed: int | None, planned: PlannedMerge) -> list[MergeRound]:
        """The rounds of a merge that are there."""
        signals = self._signals_of(seed, planned)
        return found_rounds(self._plan(seed, planned), self._out, signals, planned.title)

    def _training(self, step: RunStep, task: str) -> ExpertTraining:
        """The training of an expert."""
        if step.title is None:
            return standalone_training(
                self.experiment, self._base, self._examples, task, step.seed,
                signals=self.signals, out=self._out,
            )  # fmt: skip
        planned, start = self._planned(step), self.experiment.base
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
                self.experiment, self._base, self._examples, seed, signals=self.signals, out=self._out
            )
        return self._experts[seed]

    def _signals_of(self, seed: int | None, planned: PlannedMerge) -> ValidationSignals:
        """What validation data say; over the scores of a seed's experts, where a merge asks for scores."""
        if not needs_of(self.experiment, planned.method).scores:
            return self.signals
        return self.signals.with_references(
            {task: expert.path for task, expert in self._experts_of(seed).items()}
        )

    def _trained_in_rounds(self) -> TrainedExperts:
        assert self.experiment.train is not None
        settings = self.experiment.train.one_round_settings
        return TrainedExperts(
            self._examples,
            settings.but(chat=self.signals.scorer.chat, report_to=self.experiment.report_to),
        )

    def _as_given(self, seed: int | None) -> GivenExperts:
        """Experts as a merge that is done once takes them, by the names that the experiment gives them."""
        names, experts = self.experiment.experts or {}, self._experts_of(seed)
        return GivenExperts(
            {
                task: Expert(names.get(task, str(checkpoint.path)), checkpoint.path)
                for task, checkpoint in experts.items()
            },
            {task: checkpoint.identity.digest for task, checkpoint in experts.items()},
        )

    def _plan(self, seed: int | None, planned: PlannedMerge) -> MergePlan:
        """What a method merges, and how."""
        method, experiment = planned.method, self.experiment
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
