"""A search that can start: everything that its file names is opened and checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.scored_checkpoint import ScoredCheckpoint
from bench.scoring import Scorer
from bench.signals import ValidationSignals
from bench.suite import Suite
from manyshot.check import check_experiment
from manyshot.experts import open_signals, train_experts, training_examples
from manyshot.planned_merges import expert_label
from manyshot.search.candidates import Family
from manyshot.search.file import Search, SearchSettings
from manyshot.search.objective import Objective, objective_of
from manyshot.search.surrogate import Coordinates, number_of_terms
from merging.known_methods import find_method
from merging.measured_method import MeasuredMethod
from merging.prepare import prepare
from merging.provenance import MERGING_VERSION, code_of
from merging.signals import SignalNeeds
from merging.sources import absolute_location
from results.errors import InputError
from results.json_values import cache_key


@dataclass(frozen=True)
class OpenedSearch:
    """A search that can start.

    Attributes:
        name: of its run in the store.
        search: what its file says.
        suite: whose tasks are merged.
        objectives: what is made large.
        base: θ₀.
        experts: by task, as the run calls them.
        family: what all candidates are merges of.
        signals: of checkpoints on validation data; they have the scorer, and that the store.
    """

    name: str
    search: Search
    suite: Suite
    objectives: tuple[Objective, ...]
    base: ScoredCheckpoint
    experts: Mapping[str, ScoredCheckpoint]
    family: Family
    signals: ValidationSignals

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks."""
        return tuple(self.suite.tasks)

    def made_of(self, versions: Mapping[str, str]) -> dict[str, Any]:
        """Return all that decides which candidates are tried and what they give, by what it is called.

        Args:
            versions: of the libraries that suggest.
        """
        settings, methods = self.search.settings, self.search.settings.space.methods
        return {
            "space": settings.space.model_dump(mode="json"),
            "objective": [dict(objective.weights) for objective in self.objectives],
            "sampler": [settings.sampler_name, settings.population],
            **({"batch": settings.batch} if settings.batch > 1 else {}),
            **({"samples": settings.samples} if settings.samples else {}),
            "halving": settings.halving and settings.halving.model_dump(),
            **({"estimate": settings.estimate.model_dump(exclude={"check"})} if settings.estimate else {}),
            "seed": settings.seed,
            "base": self.base.identity.digest,
            "experts": {task: expert.identity.digest for task, expert in self.experts.items()},
            "validation": cache_key(self.signals.key(SignalNeeds(scores=True))),
            "merging": [self.family.output_dtype, list(self.family.accept_differences), MERGING_VERSION],
            "method's_code": [code_of(find_method(method.name).method_class) for method in methods],
            "version_of_optuna": dict(versions),
        }

    def check_merges(self) -> None:
        """Refuse a space of which a method cannot merge these experts.

        Raises:
            InputError: says why.
        """
        for candidate in self.search.settings.space.corners(self.tasks):
            if not issubclass(find_method(candidate.method).method_class, MeasuredMethod):
                prepare(self.family.recipe(candidate, self.signals))


def check_search(search: Search, suite: Suite, name: str) -> tuple[Objective, ...]:
    """Refuse a search that could not be run, as far as its file and its suite say; return its objectives.

    Raises:
        InputError: says what does not fit.
    """
    settings, tasks = search.settings, tuple(suite.tasks)
    check_experiment(search.experiment, suite, name)
    settings.space.check(tasks)
    if settings.sampler_name == "cmaes":
        numbers = settings.space.numeric(tasks)
        if numbers is None or len(numbers) < 2:
            raise InputError(
                "The sampler cmaes needs a space of two numbers or more, without methods or values to choose "
                "among: take another sampler."
            )
    if settings.sampler_name == "map":
        _check_map(settings, tasks)
    return tuple(objective_of(given, tasks) for given in settings.objective)


def _check_map(settings: SearchSettings, tasks: Sequence[str]) -> None:
    """Refuse what the surrogate cannot be fitted to."""
    if not settings.space.numeric(tasks):
        raise InputError(
            "The sampler map needs a space of numbers, without methods or values to choose among: take "
            "another sampler."
        )
    terms = number_of_terms(Coordinates(settings.space, tasks).variables)
    samples = settings.samples or 2 * terms
    if samples <= terms:
        raise InputError(
            f"The surrogate of the sampler map has {terms} numbers for an objective, which {samples} samples "
            f"do not say: give `samples` above {terms}."
        )
    if settings.budget.evaluations is not None and settings.budget.evaluations <= samples:
        raise InputError(
            f"The sampler map tries {samples} candidates at random before its surrogate suggests one, and "
            f"the budget has {settings.budget.evaluations}: give a larger budget, or fewer `samples`."
        )


def open_search(
    search: Search,
    name: str,
    suite: Suite,
    objectives: Sequence[Objective],
    *,
    scorer: Scorer,
    root: Path | None,
    out: Path,
) -> OpenedSearch:
    """Open the base and the experts, or train these, and look for the validation data.

    Args:
        search: what its file says.
        name: of its run.
        suite: whose tasks are merged.
        objectives: what is made large.
        scorer: scores checkpoints.
        root: local data root, or None for the hub.
        out: folder for trained experts and for what is measured of experts.

    Raises:
        InputError: something is not there or does not fit.
    """
    experiment, seed = search.experiment, search.settings.seed
    base = ScoredCheckpoint.open(experiment.base)
    paths = experiment.experts or {}
    given = {task: ScoredCheckpoint.open(paths[task]) for task in suite.tasks if paths}
    scorer.chat_forms.check([base, *given.values()])
    signals = open_signals(experiment, suite, scorer, root)
    signals.check(SignalNeeds(scores=True))
    experts = given or train_experts(
        experiment,
        base,
        training_examples(experiment, suite, root),
        experiment.seeds[0],
        signals=signals,
        out=out,
    )
    signals = signals.with_references({task: expert.path for task, expert in experts.items()})
    family = Family(
        base=absolute_location(experiment.base),
        experts={
            task: absolute_location(paths[task]) if paths else str(expert.path.absolute())
            for task, expert in experts.items()
        },
        folders={task: expert.path for task, expert in experts.items()},
        output_dtype=experiment.output_dtype,
        accept_differences=experiment.accept_differences,
        seed=seed,
        measured=out.resolve() / "measured",
    )
    named = {
        task: replace(expert, name=expert_label(experiment, task, None)) for task, expert in experts.items()
    }
    opened = OpenedSearch(name, search, suite, tuple(objectives), base, named, family, signals)
    opened.check_merges()
    return opened
