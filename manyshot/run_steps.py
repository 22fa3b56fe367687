"""The steps that make a run's checkpoints, each by itself, and which of them wait for which.

One process does them in the order of the experiment; workers do those that wait for nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from manyshot.experiment import Experiment
from manyshot.planned_merges import ExpertGroup, PlannedMerge, expert_label, needs_of, planned_merges
from results.json_values import cache_key


@dataclass(frozen=True)
class RunStep:
    """A training of one expert, or one merge with all that it measures and learns.

    Attributes:
        name: what it is called in messages; no two steps of a run have one name.
        seed: of the experts.
        task: whose expert is trained; None in a merge.
        title: of the merge that is done, or that the expert is trained for; None for an expert that is
            trained from the base alone.
        round_index: of the merge or training, from 1.
        after: names of the steps that must have been done.
    """

    name: str
    seed: int | None
    task: str | None = None
    title: str | None = None
    round_index: int = 1
    after: frozenset[str] = frozenset()


class Waiting(Protocol):
    """What may have to wait for others."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def after(self) -> frozenset[str]:
        """Names of what it waits for."""


WaitingT = TypeVar("WaitingT", bound=Waiting)


def run_steps(experiment: Experiment, tasks: Sequence[str]) -> list[RunStep]:
    """Return the steps of an experiment, each behind those that it waits for.

    Args:
        experiment: whose checkpoints are made.
        tasks: that are merged.
    """
    steps: dict[str, RunStep] = {}  # methods share the experts of their first round
    for group in planned_merges(experiment):
        for step in _steps_of_group(experiment, group, tasks):
            steps.setdefault(step.name, step)
    return list(steps.values())


def longest_first(steps: Iterable[WaitingT]) -> list[WaitingT]:
    """Return the steps by how many others wait for them one after the other, the most first."""
    listed = list(steps)
    chain = _chain_lengths(listed)
    return sorted(listed, key=lambda step: -chain[step.name])


def _chain_lengths(steps: Sequence[Waiting]) -> Mapping[str, int]:
    """Return by name how many steps the longest chain has that begins with a step."""
    lengths: dict[str, int] = {}
    for step in reversed(steps):
        lengths[step.name] = 1 + lengths.get(step.name, 0)
        for earlier in step.after:
            lengths[earlier] = max(lengths.get(earlier, 0), lengths[step.name])
    return lengths


def _steps_of_group(experiment: Experiment, group: ExpertGroup, tasks: Sequence[str]) -> Iterator[RunStep]:
    experts: frozenset[str] = frozenset()
    if experiment.train is not None:
        trained = [RunStep(expert_label(experiment, task, group.seed), group.seed, task) for task in tasks]
        yield from trained
        experts = frozenset(step.name for step in trained)
    alike: dict[str, str] = {}  # merges that differ in what they are called or in the round that counts
    for planned in group.merges:
        method = planned.method
        waits = needs_of(experiment, method).scores or not method.in_rounds or planned.rounds == 1
        made_of = cache_key([method.model_dump(mode="json", exclude={"label", "keep"}), planned.seed])
        before = experts if waits else frozenset()
        if made_of in alike:
            before |= {alike[made_of]}
        for step in _steps_of_merge(planned, group, tasks, before):
            yield step
            alike[made_of] = step.name


def _steps_of_merge(
    planned: PlannedMerge, group: ExpertGroup, tasks: Sequence[str], before: frozenset[str]
) -> Iterator[RunStep]:
    """The merges of a method; of several rounds each behind its experts, of one behind standalone ones."""
    for round_index in range(1, planned.rounds + 1):
        of_round = planned.round_label(round_index) if planned.method.in_rounds else planned.title
        if planned.rounds > 1:
            first = round_index == 1
            called = f"first round, seed {group.seed}" if first else of_round
            waits: frozenset[str] = frozenset() if first else before
            experts = [
                RunStep(f"{called}: {task}", group.seed, task, planned.title, round_index, waits)
                for task in tasks
            ]
            yield from experts
            before |= {step.name for step in experts}
        yield RunStep(of_round, group.seed, None, planned.title, round_index, before)
        before = frozenset({of_round})
