"""The steps of a run, each by itself, and which of them wait for which.

One process does them in the order of the experiment; workers do those that wait for nothing.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from manyshot.experiment import Experiment
from manyshot.jobs import Job
from manyshot.planned_merges import ExpertGroup, PlannedMerge, expert_label, needs_of, planned_merges

BenchmarksOf = Callable[[tuple[str, ...]], Iterable[str]]


@dataclass(frozen=True)
class RunStep(Job):
    """A training of one expert, one merge with all that it measures and learns, or scoring of a checkpoint.

    Attributes:
        label: of the checkpoint that is made or scored.
        seed: of the experts.
        task: whose expert is trained or scored; None where a merge or the base is.
        title: of the merge that is done, or that the expert is trained for; None for an expert that is
            trained from the base alone, and for the base.
        round_index: of the merge or training, from 1.
        after: names of the steps that must have been done.
        benchmarks: on which the checkpoint is scored; none where it is made.
        tasks: of its suite, which are merged.
    """

    label: str = ""
    seed: int | None = None
    task: str | None = None
    title: str | None = None
    round_index: int = 1
    after: frozenset[str] = frozenset()
    benchmarks: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()

    @property
    def merge(self) -> tuple[object, ...] | None:
        """Of whose rounds it makes or scores one: tasks and title; None of a training, and of others."""
        return (self.tasks, self.title) if self.title is not None and self.task is None else None

    def load(self, last: "Job") -> int:
        """How much a worker loads anew for it that did another: of other tasks an engine too."""
        return super().load(last) + (isinstance(last, RunStep) and last.tasks != self.tasks)

    def only(self, benchmarks: Collection[str]) -> "RunStep":
        """The step with some of its benchmarks."""
        return replace(self, benchmarks=tuple(benchmarks))


def run_steps(
    experiment: Experiment, tasks: Sequence[str], benchmarks: BenchmarksOf = lambda _: ()
) -> list[RunStep]:
    """Return the steps of an experiment, each behind those that it waits for.

    Args:
        experiment: whose checkpoints are made and scored.
        tasks: of its suite; all are merged, or the subsets of them that the experiment names.
        benchmarks: says on which benchmarks checkpoints are scored where some tasks are merged; without it
            only making them is planned.
    """
    steps: list[RunStep] = []
    for subset in experiment.merged_together(tasks):
        prefix = f"{'+'.join(subset)}: " if experiment.subsets else ""
        planning = _Planning(experiment, subset, tuple(benchmarks(subset)), prefix)
        steps.extend(replace(step, tasks=subset) for step in planning.steps())
    return _distinct(steps)


def _distinct(steps: Iterable[RunStep]) -> list[RunStep]:
    """Return steps without what earlier ones do: subsets share experts, methods those of the first round."""
    seen: set[str] = set()
    kept = []
    for step in steps:
        new = [one for one in step.benchmarks if not step.only([one]).does <= seen]
        if new or not step.does <= seen:
            kept.append(step.only(new))
            seen |= step.does
    return kept


@dataclass(frozen=True)
class _Planning:
    """The steps of an experiment on some tasks.

    Attributes:
        experiment: whose.
        tasks: that are merged.
        benchmarks: on which checkpoints are scored.
        prefix: of the labels of merges, where other tasks are merged too.
    """

    experiment: Experiment
    tasks: tuple[str, ...]
    benchmarks: tuple[str, ...]
    prefix: str

    def steps(self) -> Iterator[RunStep]:
        """Yield each step, some more than once."""
        yield from self._scored(RunStep("base"))
        for group in planned_merges(self.experiment):
            yield from self._of_group(group)

    def _scored(self, step: RunStep, after: Collection[str] = ()) -> Iterator[RunStep]:
        """The step that scores what another makes, behind that or others."""
        if self.benchmarks:
            yield replace(step, benchmarks=self.benchmarks, after=frozenset(after))

    def _of_group(self, group: ExpertGroup) -> Iterator[RunStep]:
        experiment, trained = self.experiment, frozenset[str]()
        experts = [
            RunStep(expert_label(experiment, task, group.seed), group.seed, task) for task in self.tasks
        ]
        if experiment.train is not None:
            yield from experts
            trained = frozenset(step.label for step in experts)
        for step in experts:
            yield from self._scored(step, trained & step.does)
        alike: dict[str, RunStep] = {}  # merges that differ in their label or in the round that counts
        for planned in group.merges:
            method = planned.method
            waits = needs_of(experiment, method).scores or not method.in_rounds or planned.rounds == 1
            before = trained if waits else frozenset()
            if planned.made_of in alike:
                before |= alike[planned.made_of].does
            for step in self._of_merge(planned, group, before):
                yield step
                alike[planned.made_of] = step

    def _of_merge(
        self, planned: PlannedMerge, group: ExpertGroup, before: frozenset[str]
    ) -> Iterator[RunStep]:
        """The merges of a method, each behind its round's experts; of one round behind standalone ones."""
        merges = []
        for round_index in range(1, planned.rounds + 1):
            of_round = planned.round_label(round_index) if planned.method.in_rounds else planned.title
            label = self.prefix + of_round
            if planned.rounds > 1:
                first = round_index == 1
                called = f"first round, seed {group.seed}" if first else label
                waits = frozenset[str]() if first else before
                experts = [
                    RunStep(f"{called}: {task}", group.seed, task, planned.title, round_index, waits)
                    for task in self.tasks
                ]
                yield from experts
                before |= {step.label for step in experts}
            merges.append(RunStep(label, group.seed, None, planned.title, round_index, before))
            yield merges[-1]
            before = merges[-1].does
            if planned.method.keep == "last":
                yield from self._scored(merges[-1], before)
        if planned.method.keep != "last":  # a record's name says which round counts
            for step in merges:
                yield from self._scored(step, before)
