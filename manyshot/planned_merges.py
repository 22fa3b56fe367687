"""Which merges an experiment consists of: a run does these, and `--plan` counts them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from manyshot.experiment import Experiment, MethodEntry
from merging.known_methods import make_method
from merging.signals import SignalNeeds
from merging.tuning import example_settings, settings_needs
from results.json_values import cache_key


@dataclass(frozen=True)
class PlannedMerge:
    """One merge of a method for one seed.

    Attributes:
        method: the method's entry of the experiment.
        seed: of the training or merging; None where nothing is drawn.
        title: label of the merged checkpoint.
        rounds: in how many rounds; 1 is once.
    """

    method: MethodEntry
    seed: int | None
    title: str
    rounds: int

    @property
    def labels(self) -> list[str]:
        """Labels of all checkpoints that it makes."""
        rounds = range(self.rounds if self.method.in_rounds else 0)
        return [self.title, *(self.round_label(index + 1) for index in rounds)]

    @cached_property
    def made_of(self) -> str:
        """A digest of what decides its checkpoints: not what it is called, nor which round counts."""
        return cache_key([self.method.model_dump(mode="json", exclude={"label", "keep"}), self.seed])

    def round_label(self, round_index: int) -> str:
        """Label of the checkpoint of a round."""
        return f"{self.title}, round {round_index}"


@dataclass(frozen=True)
class ExpertGroup:
    """The merges of experts of one seed; of given experts, which have none, all merges.

    Attributes:
        seed: of the experts' training.
        merges: in order.
    """

    seed: int | None
    merges: tuple[PlannedMerge, ...]


def planned_merges(experiment: Experiment) -> Iterator[ExpertGroup]:
    """Yield the merges by the experts that they take; given ones are merged by seed where a method draws."""
    if experiment.train is not None:
        for seed in experiment.seeds:
            yield ExpertGroup(
                seed, tuple(_planned(experiment, method, seed) for method in experiment.methods)
            )
        return
    merges = [
        _planned(experiment, method, seed)
        for method in experiment.methods
        for seed in (experiment.seeds if _draws(method) else [None])
    ]
    yield ExpertGroup(None, tuple(merges))


def rounds_of(experiment: Experiment, method: MethodEntry) -> int:
    """Return how often a method merges: in the experiment's rounds, or once."""
    return experiment.train.rounds if experiment.train and method.in_rounds else 1


def needs_of(experiment: Experiment, method: MethodEntry) -> SignalNeeds:
    """Return the signals that a method uses."""
    of_settings = settings_needs(method.name, method.settings, rounds_of(experiment, method))
    return method.task_weighting.needs | of_settings | SignalNeeds(scores=method.keep != "last")


def expert_label(experiment: Experiment, task: str, seed: int | None) -> str:
    """Return how tables call a task's expert."""
    return f"{task} expert{seed_suffix(experiment, seed)}"


def seed_suffix(experiment: Experiment, seed: int | None) -> str:
    """Return what tells checkpoints of a seed from those of others; nothing where there is one seed."""
    return f", seed {seed}" if seed is not None and len(experiment.seeds) > 1 else ""


def _planned(experiment: Experiment, method: MethodEntry, seed: int | None) -> PlannedMerge:
    title = f"{method.title}{seed_suffix(experiment, seed)}"
    return PlannedMerge(method, seed, title, rounds_of(experiment, method))


def _draws(method: MethodEntry) -> bool:
    """Whether a method draws random numbers."""
    return make_method(method.name, next(example_settings(method.settings))).random
