"""What a run of an experiment will train, measure, merge and score, before any of it is begun.

The walk is that of the run: a checkpoint is a key of all that decides it, and what methods share (standalone
experts, the experts of the first round, a loss or a record of one checkpoint) is counted once, as it is made
once. Nothing that an earlier run may have left is looked for; a learning's looks at held-out inputs are not
counted.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any, NamedTuple

from bench.benchmark import Benchmark
from bench.engine import EngineSettings
from bench.registry import Suite, load_suite
from bench.signals import WEIGHED_TOP_K
from manyshot.experiment import Experiment, MethodEntry
from manyshot.plan_estimates import documents, training_texts
from manyshot.plan_steps import PHASES, Amount, ExperimentPlan, Phase, Step, TaskTexts
from manyshot.runner import check_tasks
from manyshot.scoring import score_settings
from manyshot.training_runs import check_methods
from merging.known_methods import make
from merging.learned_method import LearnedMethod
from merging.signals import ContinuationSettings
from merging.train_settings import TrainSettings
from merging.tuning import CHOOSE_PER_TASK, examples_of, grid, of_round, values_to_choose
from merging.weighting import Weighting
from results.errors import InputError
from results.subsets import subsets_of

Key = tuple[Any, ...]
"""A checkpoint, or something measured of one, by all that decides it."""
_BASE: Key = ("base",)
POST_HOC, IN_ROUNDS = "what is merged post hoc", "what is merged in rounds"
KINDS = {"delta": "whole models", "factors": "adapters"}
"""What merging makes, by its space."""


class _Training(NamedTuple):
    """An expert, by all that decides it."""

    start: Key
    task: str
    epochs: int
    first_epoch: int
    seed: int


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
    if experiment.train is None:
        check_tasks(experiment, suite)
    check_methods(experiment, suite)
    return _Walk(experiment, suite, data_root, skip_missing=skip_missing).plan()


class _Walk:
    """Goes through an experiment as the run does, and notes what is met for the first time."""

    def __init__(
        self, experiment: Experiment, suite: Suite, root: Path | None, *, skip_missing: bool
    ) -> None:
        self._experiment, self._suite = experiment, suite
        self._steps: dict[tuple[Phase, str], Step] = {}
        self._seen: set[Key] = set()
        self._standalone: Mapping[str, Key] = {}
        self._tasks = {task: self._texts_of(task, root) for task in suite.tasks}
        scoring = score_settings(
            suite, experiment.preset, EngineSettings(), experiment.limit, experiment.fewshot_seed
        )

        def asked(benchmarks: Iterable[Benchmark]) -> dict[str, Amount]:
            found = {
                one.name: documents(one, root, scoring.limit_of(one.name), scoring.seed) for one in benchmarks
            }
            leave_out = skip_missing and root is not None
            return {name: one for name, one in found.items() if one.counted or not leave_out}

        self._benchmarks = asked(suite.benchmarks)
        self._validation = {
            task: asked(one.on_split(of.validation_split) for one in of.benchmarks)
            for task, of in suite.tasks.items()
            if of.validation_split is not None
        }

    def plan(self) -> ExperimentPlan:
        """Go through everything."""
        sizes, every = self._experiment.subsets, tuple(self._suite.tasks)
        for tasks in [every] if sizes is None else subsets_of(every, sizes):
            self._score("the base", _BASE, tasks)
            if self._experiment.train is None:
                self._of_given(tasks)
            else:
                for seed in self._experiment.seeds:
                    self._of_trained(tasks, seed)
        steps = sorted(self._steps.values(), key=lambda step: PHASES.index(step.phase))
        return ExperimentPlan(self._tasks, self._benchmarks, tuple(steps))

    def _texts_of(self, task: str, root: Path | None) -> TaskTexts:
        of, options = self._suite.tasks[task], self._experiment.train
        if options is None:
            cut, most, training = TrainSettings().max_length, None, None
        elif not of.training:
            raise InputError(f"The suite {self._suite.name} names no training data for the task '{task}'.")
        else:
            cut, most = options.loss_max_length or options.max_length, options.validation
            training = training_texts(of.training, root, options.examples, options.max_length)
        validation = training_texts(of.validation, root, most, cut) if of.validation else None
        return TaskTexts(training, validation)

    def _once(self, phase: Phase, what: str, key: Key, read: Mapping[str, Amount]) -> None:
        """Note some work, unless it was noted."""
        if key not in self._seen:
            self._seen.add(key)
            self._steps.setdefault((phase, what), Step(phase, what)).add(read)

    def _of_given(self, tasks: Sequence[str]) -> None:
        experts = self._standalone = {task: ("given", task) for task in tasks}
        for expert in experts.values():
            self._score("the experts", expert, tasks)
        for entry in self._experiment.methods:
            random = make(entry.name, next(examples_of(entry.settings))).random
            for seed in self._experiment.seeds if random else [None]:
                merged = (_decides(entry), tuple(tasks), seed)
                self._merge(entry, of_round(entry.settings, 1, 1), merged, _BASE, experts)
                self._score(POST_HOC, merged, tasks)

    def _of_trained(self, tasks: Sequence[str], seed: int) -> None:
        options = self._experiment.train
        assert options is not None
        whole = options.rounds * options.epochs
        alone = {task: _Training(_BASE, task, whole, 0, seed) for task in tasks}
        self._standalone = alone
        for expert in alone.values():
            self._train("the standalone experts, on all rounds' passes", expert)
            self._score("the experts", expert, tasks)
        for entry in self._experiment.methods:
            many = entry.protocol == "many-shot"
            rounds, epochs = (options.rounds, options.epochs) if many else (1, whole)
            before, merged = _BASE, []
            for turn in range(1, rounds + 1):
                first = (turn - 1) * epochs
                experts = {task: _Training(before, task, epochs, first, seed) for task in tasks}
                for expert in experts.values():
                    later = f"the experts of later rounds, {entry.plain_title}"
                    self._train("the experts of round 1" if turn == 1 else later, expert)
                merged.append((_decides(entry), tuple(tasks), seed, rounds, epochs, turn))
                settings = of_round(entry.settings, turn, rounds)
                self._merge(entry, settings, merged[-1], before, experts)
                before = merged[-1]
            for one in merged:
                if entry.keep != "last":
                    self._normalised("choose", "the round that counts", one, tasks)
                self._score(IN_ROUNDS if many else POST_HOC, one, tasks)

    def _train(self, what: str, expert: _Training) -> None:
        texts = self._tasks[expert.task].training
        assert texts is not None
        self._once("train", what, expert, {expert.task: texts.read(expert.epochs)})

    def _merge(
        self,
        entry: MethodEntry,
        settings: Mapping[str, Any],
        merged: Key,
        before: Key,
        experts: Mapping[str, Key],
    ) -> None:
        """Weigh, try what is to be chosen among, and merge."""
        self._weigh(entry.by, before, experts)
        candidates = _tried(settings, list(experts))
        for number, (candidate, tasks) in enumerate(candidates):
            tried = (*merged, "tried", number)
            self._learn(entry, candidate, tried, experts)
            self._once("merge", "to choose settings by", ("merge", *tried), {})
            self._normalised("choose", "settings", tried, tasks)
        if candidates and "only" not in candidates[-1][0]:  # the merged checkpoint is one of them again
            self._seen.update(key for task in experts for key, *_ in self._scores(merged, task))
        else:
            self._learn(entry, next(examples_of(settings)), merged, experts)
        protocol = "in rounds" if entry.protocol == "many-shot" else "post hoc"
        self._once("merge", f"{protocol}, into {KINDS[entry.space]}", ("merge", *merged), {})

    def _weigh(self, by: Weighting, before: Key, experts: Mapping[str, Key]) -> None:
        for task, expert in experts.items():
            if by.name == "loss_gap":
                for one in (before, expert):
                    texts = {task: self._validation_texts(task)}
                    self._once("signals", "losses", ("loss", one, task, by.over), texts)
            elif by.name == "divergence":
                limit = self._experiment.train.validation if self._experiment.train else None
                asked = ContinuationSettings(limit, top_k=WEIGHED_TOP_K)
                key = ("divergence", before, self._targets(expert, task, asked))
                self._once("signals", "divergences", key, {task: self._continued(task, asked)})
            elif by.name != "uniform":
                self._normalised("signals", "validation scores", before, [task])

    def _learn(
        self, entry: MethodEntry, settings: Mapping[str, Any], merged: Key, experts: Mapping[str, Key]
    ) -> None:
        """Learn a method's coefficients, where it has some."""
        method = make(entry.name, settings)
        if not isinstance(method, LearnedMethod) or method.coefficients is not None:
            return
        most, top_k = method.inputs_per_task + method.held_out, method.top_k
        asked = ContinuationSettings(most, method.max_new_tokens, top_k, method.source, exact=top_k is None)
        for task, expert in experts.items():
            self._targets(expert, task, asked)
        inputs = {task: self._continued(task, asked).at_most(method.inputs_per_task) for task in experts}
        passes, total = float(method.epochs), sum(one.texts or 0 for one in inputs.values())
        if method.steps is not None and total:
            passes = min(passes, method.steps * method.batch_per_task * len(inputs) / total)
        read = {task: one.read(passes) for task, one in inputs.items()}
        self._once("learn", "coefficients", ("learn", *merged), read)

    def _targets(self, expert: Key, task: str, asked: ContinuationSettings) -> Key:
        key = ("targets", expert, task, *astuple(asked))
        self._once("signals", "what experts say", key, {task: self._continued(task, asked)})
        return key

    def _continued(self, task: str, asked: ContinuationSettings) -> Amount:
        """Inputs of a task with what is said after them."""
        found = self._validation_texts(task)
        if asked.source == "test":
            names = [one.name for one in self._suite.tasks[task].benchmarks]
            if missing := [name for name in names if name not in self._benchmarks]:
                raise InputError(
                    f"A method learns from the questions of {missing[0]}, and no rows of it are at hand; "
                    "give them, or take `source: validation`."
                )
            each = [self._benchmarks[name] for name in names]
            known = None if any(one.texts is None for one in each) else sum(one.texts or 0 for one in each)
            found = Amount(known, max(one.tokens_each for one in each), each[0].counted)
        tokens = found.tokens_each + asked.max_new_tokens
        return Amount(found.texts, tokens, found.counted).at_most(asked.inputs)

    def _validation_texts(self, task: str) -> Amount:
        found = self._tasks[task].validation
        if found is None:
            raise InputError(
                f"The suite {self._suite.name} names no validation data for the task '{task}', which the "
                "experiment's methods ask for: name `validation` examples there."
            )
        return found

    def _normalised(self, phase: Phase, what: str, checkpoint: Key, tasks: Sequence[str]) -> None:
        """Validation scores of a checkpoint and of the standalone experts, by which they are divided."""
        for task in tasks:
            for one in (self._standalone[task], checkpoint):
                for key, data, amount in self._scores(one, task):
                    self._once(phase, what, key, {data: amount})

    def _scores(self, checkpoint: Key, task: str) -> list[tuple[Key, str, Amount]]:
        """What a task's validation scores are made of: records, or without such a split the answers' loss."""
        if task not in self._validation:
            return [(("loss", checkpoint, task, "completion"), task, self._validation_texts(task))]
        return [(("record", checkpoint, name), name, one) for name, one in self._validation[task].items()]

    def _score(self, what: str, checkpoint: Key, tasks: Sequence[str]) -> None:
        own = [one.name for task in tasks for one in self._suite.tasks[task].benchmarks]
        for name in (*own, *(one.name for one in self._suite.forgetting)):
            if name in self._benchmarks:
                self._once("score", what, ("record", checkpoint, name), {name: self._benchmarks[name]})


def _decides(entry: MethodEntry) -> str:
    """What of a method's entry decides what its rounds hold."""
    about = [entry.name, entry.settings, entry.by.model_dump(), entry.objective, entry.anchor, entry.space]
    return json.dumps(about, sort_keys=True, default=str)


def _tried(settings: Mapping[str, Any], tasks: Sequence[str]) -> list[tuple[dict[str, Any], list[str]]]:
    """What is tried where settings of a round are chosen, each with the tasks that decide."""
    alone: list[tuple[dict[str, Any], list[str]]] = []
    together = []
    for combination in grid(settings):
        candidate = dict(combination)
        for name, value in combination.items():
            if (values := values_to_choose(value, CHOOSE_PER_TASK)) is not None:
                alone += [
                    ({**combination, name: one, "only": task}, [task]) for task in tasks for one in values
                ]
                candidate[name] = dict.fromkeys(tasks, values[0])
        together.append((candidate, list(tasks)))
    return alone + (together if len(together) > 1 else [])
