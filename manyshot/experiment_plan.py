"""What a run of an experiment will train, measure, merge and score, before any of it is begun.

The merges are those that the run does, and weighting and choosing are the run's own functions: they are given
signals that count what is measured. What methods share (standalone experts, the experts of the first round, a
loss or a record of one checkpoint) is counted once, as it is made once. Nothing that an earlier run may have
left is looked for; looks at held-out inputs are not counted.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.benchmark import Benchmark
from bench.engine import EngineSettings
from bench.score_settings import whole
from bench.signals import WEIGHED_TOP_K
from bench.suite import Suite, load_suite
from manyshot.check import check_experiment
from manyshot.experiment import Experiment, MethodEntry
from manyshot.plan_amounts import (
    PHASES,
    Amount,
    ExperimentPlan,
    Phase,
    Step,
    TaskTexts,
    documents,
    together,
    training_texts,
)
from manyshot.planned_merges import ExpertGroup, PlannedMerge, planned_merges
from manyshot.score_checkpoints import score_settings
from merging.known_methods import make_method
from merging.learned_method import LearnedMethod
from merging.measured_method import MeasuredMethod
from merging.signals import ContinuationSettings, Divergence, Measurements
from merging.train_settings import Loss, TrainSettings
from merging.tuning import grid_search, round_settings
from results.errors import InputError
from results.json_values import cache_key

POST_HOC, IN_ROUNDS = "what is merged post hoc", "what is merged in rounds"
KINDS = {"delta": "whole models", "factors": "adapters"}
"""What merging makes, by its space."""


def plan_experiment(
    experiment: Experiment, data_root: Path | None = None, *, skip_missing: bool = False
) -> ExperimentPlan:
    """Return what a run of an experiment will do.

    Args:
        experiment: what to do.
        data_root: local data root, or None: then only rows that are made here are counted.
        skip_missing: leave out benchmarks without rows under the data root.

    Raises:
        InputError: the experiment names what does not fit.
    """
    suite = load_suite(experiment.suite)
    check_experiment(experiment, suite)
    work = _Work(experiment, suite, data_root, skip_missing=skip_missing)
    for tasks in experiment.merged_together(tuple(suite.tasks)):
        work.score("the base", _BASE, tasks)
        for group in planned_merges(experiment):
            _GroupPlan(experiment, work, tasks, group).count()
    return work.plan()


def _checkpoint(*decides: object) -> Path:
    """A name for a checkpoint that all of these decide."""
    return Path(cache_key(decides)[:24])


_BASE = _checkpoint("base")


class _Work:
    """All work by kind; what is met for the second time is not counted again."""

    def __init__(
        self, experiment: Experiment, suite: Suite, root: Path | None, *, skip_missing: bool
    ) -> None:
        self._experiment, self.suite = experiment, suite
        self._steps: dict[tuple[Phase, str], Step] = {}
        self._seen: set[tuple[object, ...]] = set()
        self.texts = {task: self._texts_of(task, root) for task in suite.tasks}
        settings = score_settings(
            suite, experiment.preset, EngineSettings(), experiment.limit, experiment.fewshot_seed
        )

        def counted(benchmarks: Iterable[Benchmark]) -> dict[str, Amount]:
            amounts = {
                benchmark.name: documents(
                    benchmark, root, whole(settings.limit_of(benchmark.name)), settings.seed
                )
                for benchmark in benchmarks
            }
            leave_out = skip_missing and root is not None
            return {name: amount for name, amount in amounts.items() if amount.counted or not leave_out}

        self.benchmarks = counted(suite.benchmarks)
        self._validation = {
            name: counted(benchmark.on_split(task.validation_split) for benchmark in task.benchmarks)
            for name, task in suite.tasks.items()
            if task.validation_split is not None
        }

    def plan(self) -> ExperimentPlan:
        """All work, by phase."""
        steps = sorted(self._steps.values(), key=lambda step: PHASES.index(step.phase))
        return ExperimentPlan(self.texts, self.benchmarks, tuple(steps))

    def once(self, phase: Phase, what: str, key: tuple[object, ...], *read: Amount) -> None:
        """Count some work, unless it was counted."""
        if key not in self._seen:
            self._seen.add(key)
            self._steps.setdefault((phase, what), Step(phase, what)).add(*read)

    def score(self, what: str, checkpoint: Path, tasks: Sequence[str]) -> None:
        """Count the records of a checkpoint."""
        of_tasks = [benchmark for task in tasks for benchmark in self.suite.tasks[task].benchmarks]
        for benchmark in (*of_tasks, *self.suite.forgetting):
            name = benchmark.name
            if name in self.benchmarks:
                self.once("score", what, ("record", checkpoint, name), self.benchmarks[name])

    def scores(self, checkpoint: Path, task: str) -> list[tuple[tuple[object, ...], Amount]]:
        """What a task's validation scores are made of: records, or without such a split the answers' loss."""
        if task not in self._validation:
            return [(("loss", checkpoint, task, "completion"), self.validation_texts(task))]
        amounts = self._validation[task]
        return [(("record", checkpoint, name), amount) for name, amount in amounts.items()]

    def make_known(self, checkpoint: Path, tasks: Iterable[str]) -> None:
        """Count no validation scores of a checkpoint, which another of the same weights has."""
        self._seen.update(key for task in tasks for key, _ in self.scores(checkpoint, task))

    def validation_texts(self, task: str) -> Amount:
        """A task's validation examples."""
        amount = self.texts[task].validation
        if amount is None:
            raise InputError(
                f"The suite {self.suite.name} names no validation data for the task '{task}', which the "
                "experiment's methods ask for: name `validation` examples there."
            )
        return amount

    def continuations(self, expert: Path, task: str, settings: ContinuationSettings) -> tuple[object, ...]:
        """Count what an expert says after a task's inputs."""
        key = ("continuations", expert, task, settings)
        self.once("signals", "what experts say", key, self.continued(task, settings))
        return key

    def continued(self, task: str, settings: ContinuationSettings) -> Amount:
        """Inputs of a task with what is said after them."""
        amount = self.validation_texts(task)
        if settings.source == "test":
            names = [benchmark.name for benchmark in self.suite.tasks[task].benchmarks]
            if missing := [name for name in names if name not in self.benchmarks]:
                raise InputError(
                    f"A method learns from the questions of {missing[0]}, and no rows of it are at hand; "
                    "give them, or take `source: validation`."
                )
            each = [self.benchmarks[name] for name in names]
            tokens_each = max(benchmark.tokens_each for benchmark in each)
            amount = Amount(together(each).texts, tokens_each, each[0].counted)
        tokens = amount.tokens_each + settings.max_new_tokens
        return Amount(amount.texts, tokens, amount.counted).at_most(settings.inputs)

    def _texts_of(self, task: str, root: Path | None) -> TaskTexts:
        of_task, train = self.suite.tasks[task], self._experiment.train
        if train is None:
            cut, most, training = TrainSettings().max_length, None, None
        else:
            cut, most = train.loss_max_length or train.max_length, train.validation
            training = training_texts(of_task.training, root, train.examples, train.max_length)
        validation = training_texts(of_task.validation, root, most, cut) if of_task.validation else None
        return TaskTexts(training, validation)


@dataclass(frozen=True)
class _CountedSignals:
    """Signals that count what would be measured; every number is 0.

    Attributes:
        work: where it is counted.
        standalone: the experts whose scores others are divided by.
        limit: most validation examples.
        phase: of validation scores.
        what: they are for.
    """

    work: _Work
    standalone: Mapping[str, Path]
    limit: int | None
    phase: Phase
    what: str

    def loss(self, checkpoint: Path, task: str, over: Loss) -> float:
        key = ("loss", checkpoint, task, over)
        self.work.once("signals", "losses", key, self.work.validation_texts(task))
        return 0.0

    def divergence(self, kind: Divergence, expert: Path, checkpoint: Path, task: str) -> float:
        settings = ContinuationSettings(inputs=self.limit, top_k=WEIGHED_TOP_K)
        key = ("divergence", checkpoint, self.work.continuations(expert, task, settings))
        self.work.once("signals", "divergences", key, self.work.continued(task, settings))
        return 0.0

    def normalised(self, checkpoint: Path, task: str) -> float:
        for scored in (self.standalone[task], checkpoint):
            for key, amount in self.work.scores(scored, task):
                self.work.once(self.phase, self.what, key, amount)
        return 0.0


@dataclass(frozen=True)
class _GroupPlan:
    """The merges of one group of experts on some tasks."""

    experiment: Experiment
    work: _Work
    tasks: Sequence[str]
    group: ExpertGroup
    standalone: dict[str, Path] = field(default_factory=dict)

    def count(self) -> None:
        """Count the experts and all that is done with them."""
        train = self.experiment.train
        for task in self.tasks:
            if train is None:
                self.standalone[task] = _checkpoint("given", task)
            else:
                what = "the standalone experts, on all rounds' passes"
                self.standalone[task] = self._train(what, _BASE, task, train.rounds * train.epochs, 0)
            self.work.score("the experts", self.standalone[task], self.tasks)
        for planned in self.group.merges:
            self._count_merge(planned)

    def _count_merge(self, planned: PlannedMerge) -> None:
        method, train = planned.method, self.experiment.train
        start, merged = _BASE, []
        for round_index in range(1, planned.rounds + 1):
            experts = self.standalone
            if method.in_rounds and train is not None:
                later = f"the experts of later rounds, {method.plain_title}"
                what = "the experts of round 1" if round_index == 1 else later
                passed = (round_index - 1) * train.epochs
                experts = {task: self._train(what, start, task, train.epochs, passed) for task in self.tasks}
            merged.append(
                _checkpoint("merged", _decides(method), self.tasks, planned.seed, planned.rounds, round_index)
            )
            settings = round_settings(method.settings, round_index, planned.rounds)
            self._count_round(method, settings, merged[-1], start, experts)
            start = merged[-1]
        for checkpoint in merged:
            if method.keep != "last":
                signals = self._signals("choose", "the round that counts")
                for task in self.tasks:
                    signals.normalised(checkpoint, task)
            self.work.score(IN_ROUNDS if method.in_rounds else POST_HOC, checkpoint, self.tasks)

    def _count_round(
        self,
        method: MethodEntry,
        settings: Mapping[str, Any],
        merged: Path,
        start: Path,
        experts: Mapping[str, Path],
    ) -> None:
        """Weigh, choose, learn and merge."""
        method.task_weighting.measure(self._signals("signals", "validation scores"), start, experts)
        signals, tried = self._signals("choose", "settings"), []

        def try_settings(candidate: Mapping[str, Any], tasks: Sequence[str]) -> float:
            tried.append(candidate)
            trial = _checkpoint(merged, "trial", len(tried))
            self._learn(method, candidate, trial, experts)
            self.work.once("merge", "to choose settings by", ("merge", trial))
            for task in tasks:
                signals.normalised(trial, task)
            return 0.0

        chosen = grid_search(settings, self.tasks, try_settings)
        if tried and "only" not in tried[-1]:  # the merged checkpoint is one of them again
            self.work.make_known(merged, experts)
        else:
            self._learn(method, chosen, merged, experts)
        protocol = "in rounds" if method.in_rounds else "post hoc"
        self.work.once("merge", f"{protocol}, into {KINDS[method.space]}", ("merge", merged))

    def _train(self, what: str, start: Path, task: str, epochs: int, passed: int) -> Path:
        expert = _checkpoint("expert", start, task, epochs, passed, self.group.seed)
        texts = self.work.texts[task].training
        assert texts is not None
        adapter = self.experiment.train and self.experiment.train.adapter
        times = epochs * (adapter.trainings if adapter else 1)
        self.work.once("train", what, ("train", expert), texts.read(times))
        return expert

    def _learn(
        self, method: MethodEntry, settings: Mapping[str, Any], merged: Path, experts: Mapping[str, Path]
    ) -> None:
        """Learn a method's coefficients, or measure what it uses."""
        made = make_method(method.name, settings)
        if isinstance(made, MeasuredMethod) and made.measured is None:
            decides = cache_key(made.decides(dict.fromkeys(experts, 1.0)))
            for task, expert in experts.items():
                said = self.work.continuations(expert, task, made.continuations)
                amount = self.work.continued(task, made.continuations)
                self.work.once(
                    "signals", "what methods measure of experts", ("measured", decides, said), amount
                )
        if not isinstance(made, LearnedMethod) or made.coefficients is not None:
            return
        continuations = made.continuations
        for task, expert in experts.items():
            self.work.continuations(expert, task, continuations)
        inputs = [self.work.continued(task, continuations).at_most(made.inputs_per_task) for task in experts]
        passes, total = float(made.epochs), sum(amount.texts or 0 for amount in inputs)
        if made.steps is not None and total:
            passes = min(passes, made.steps * made.batch_per_task * len(inputs) / total)
        read = [amount.read(passes) for amount in inputs]
        self.work.once("learn", "coefficients", ("learn", merged), *read)

    def _signals(self, phase: Phase, what: str) -> Measurements:
        train = self.experiment.train
        return _CountedSignals(self.work, self.standalone, train.validation if train else None, phase, what)


def _decides(method: MethodEntry) -> list[Any]:
    """What of a method's entry decides what its rounds hold."""
    weighting = method.task_weighting.model_dump()
    return [method.name, method.settings, weighting, method.objective, method.anchor, method.space]
