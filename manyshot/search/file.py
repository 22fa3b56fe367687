"""The search file: what is merged, the space, the objective, the sampler and the budget.

suite: lab
base: models/base
experts: {math: models/math, safety: models/safety}
space:
  methods:
    - {name: ties, density: {low: 0.05, high: 0.9}, scaling: {low: 0.3, high: 3.0, log: true}}
    - {name: task_arithmetic, scaling: {low: 0.1, high: 1.5}}
objective: {average: 0.5, worst_task: 0.5}
budget: {evaluations: 100}

All other keys are those of an experiment: `train` in place of `experts`, `engine`, `limit`, `chat`, … With
`experiment: lab` suite, base and experts are those of an experiment.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from manyshot.experiment import Experiment, find_experiment, load_experiment
from manyshot.search.space import Space
from merging.method_file import absolute
from results.errors import InputError
from results.reading import beside, read_yaml
from results.validation import Settings, Several, quoted, validated

SamplerName = Literal["tpe", "cmaes", "nsgaii", "nsgaiii", "map", "random"]
OF_SEVERAL: tuple[SamplerName, ...] = ("nsgaii", "nsgaiii", "map", "tpe", "random")
"""The samplers that take several objectives."""
_PLACES = {"experiment", "suite", "base", "experts", "train"}


class Budget(Settings):
    """How much is tried: `evaluations` or `hours`."""

    evaluations: int | None = Field(None, gt=0)
    """Candidates."""
    hours: float | None = Field(None, gt=0)
    """Hours of merging and scoring candidates, of all workers and starts together; the batch that is begun is
    ended."""

    @model_validator(mode="after")
    def _says_one(self) -> Self:
        if (self.evaluations is None) == (self.hours is None):
            raise ValueError("either 'evaluations' or 'hours' is expected")
        return self


class Halving(Settings):
    """Candidates are scored on growing parts of the documents, and stopped where they cannot be the best."""

    first: float = Field(0.125, gt=0, lt=1)
    """Share of the documents that every candidate is scored on."""
    factor: float = Field(2.0, gt=1)
    """By how much more each next part reaches."""
    confidence: float = Field(0.8, ge=0.5, lt=1)
    """With which a candidate must be worse than the best to be stopped, at each look."""

    @property
    def shares(self) -> tuple[float, ...]:
        """Where the parts end."""
        ends, share = [], self.first
        while share < 1 - 1e-9:
            ends.append(share)
            share *= self.factor
        return (*ends, 1.0)


class Estimate(Settings):
    """Candidates are scored on a part of the documents, from which their scores on all are estimated."""

    share: float = Field(0.25, gt=0, lt=1)
    """Share of the documents that every candidate is scored on."""
    estimator: Literal["gmp-irt", "mp-irt", "gp-irt", "p-irt", "part"] = "gmp-irt"
    """MERGE³'s, tinyBenchmarks', or the score on the part alone."""
    dimensions: int = Field(2, ge=1)
    """Of abilities."""
    check: int = Field(5, ge=1)
    """Candidates that are scored on all documents in the end: so many of the best, among which the winner is
    chosen, and as many others drawn by chance."""


def _as_estimate(value: object) -> object:
    return Estimate() if value is True else None if value is False else value


def _as_halving(value: object) -> object:
    return Halving() if value is True else None if value is False else value


_Mix = str | dict[str, float]


def _as_mixes(value: object) -> object:
    """One objective as a list of one, and whole numbers as weights."""
    listed = value if isinstance(value, list | tuple) else [value]
    return [
        {name: float(weight) if type(weight) is int else weight for name, weight in one.items()}
        if isinstance(one, Mapping)
        else one
        for one in listed
    ]


class SearchSettings(Settings):
    """The keys of a search file that are the search's own."""

    space: Space
    """What is searched over."""
    objective: Annotated[Several[_Mix], BeforeValidator(_as_mixes), Field(min_length=1)] = ("average",)
    """`average`, `worst_task`, a task, or a mix such as {average: 0.5, worst_task: 0.5}; a list of several is
    searched for its Pareto front."""
    sampler: SamplerName | None = None
    """Optuna's, or `map`; else `tpe`, and for several objectives `nsgaii`."""
    population: int = Field(20, ge=2)
    """Candidates of a generation; nsgaii and nsgaiii only."""
    samples: int | None = Field(None, ge=1)
    """Candidates at random before the first that map's surrogate suggests; else twice as many as it has
    numbers."""
    batch: int = Field(1, ge=1)
    """Candidates that are suggested before the first of them is tried, for as many workers."""
    budget: Budget
    """How much is tried."""
    halving: Annotated[Halving | None, BeforeValidator(_as_halving)] = None
    """Score candidates on growing parts of the documents; true takes eighths, and twice as many each time."""
    estimate: Annotated[Estimate | None, BeforeValidator(_as_estimate)] = None
    """Score candidates on a part of the documents and estimate the rest; true takes a quarter."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Of the sampler, of the order of documents, and of methods that draw random numbers."""

    @property
    def sampler_name(self) -> SamplerName:
        """The sampler, with what stands for none."""
        return self.sampler or ("nsgaii" if len(self.objective) > 1 else "tpe")

    @property
    def shares(self) -> tuple[float, ...]:
        """Where the parts end in which documents are read."""
        if self.halving is not None:
            return self.halving.shares
        return (1.0,) if self.estimate is None else (self.estimate.share, 1.0)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len(self.objective) > 1 and self.sampler_name not in OF_SEVERAL:
            raise ValueError(
                f"several objectives need a sampler of {', '.join(OF_SEVERAL)}, not {self.sampler_name}"
            )
        if "population" in self.model_fields_set and self.sampler_name not in ("nsgaii", "nsgaiii"):
            raise ValueError(f"the sampler {self.sampler_name} has no 'population'; leave it out")
        if self.halving is not None and self.estimate is not None:
            raise ValueError("either 'halving' or 'estimate' is expected")
        if self.samples is not None and self.sampler_name != "map":
            raise ValueError(f"the sampler {self.sampler_name} has no 'samples'; leave it out")
        if self.sampler_name == "map" and len(self.objective) == 1:
            raise ValueError("the sampler map looks for the front of several objectives, and there is one")
        if self.sampler_name == "map" and self.halving is not None:
            raise ValueError(
                "the sampler map fits a function to candidates that were scored alike: leave out 'halving'"
            )
        return self


@dataclass(frozen=True)
class Search:
    """A search file.

    Attributes:
        settings: the search's own.
        experiment: where base, experts and everything about scoring come from; its methods mean nothing.
    """

    settings: SearchSettings
    experiment: Experiment


def load_search(path: Path) -> Search:
    """Read a search file. A relative path is looked for in the file's folder first.

    Raises:
        InputError: it cannot be read, or a key is missing, unknown or of the wrong type.
    """
    content = read_yaml(path)
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: a mapping of keys to values is expected, not {quoted(content)}.")
    own = {key: value for key, value in content.items() if key in SearchSettings.model_fields}
    others = {key: value for key, value in content.items() if key not in SearchSettings.model_fields}
    settings = validated(SearchSettings, own, str(path))
    methods = tuple(
        method.model_copy(update={"name": absolute(method.name, path.parent)})
        for method in settings.space.methods
    )
    settings = settings.model_copy(update={"space": settings.space.model_copy(update={"methods": methods})})
    return Search(settings, _experiment(others, path))


def _experiment(content: dict[str, Any], path: Path) -> Experiment:
    """The experiment that the other keys make, or change."""
    _refuse_unknown(content, path)
    if "experiment" not in content:
        return load_experiment(path, content={**content, "methods": ({"name": "average"},)})
    if twice := sorted(_PLACES & content.keys() - {"experiment"}):
        raise InputError(f"{path}: '{twice[0]}' is what the experiment says; give it or `experiment`.")
    name = content.pop("experiment")
    if not isinstance(name, str):
        raise InputError(f"{path}: 'experiment' is {quoted(name)}, where a name or a file is expected.")
    found = load_experiment(find_experiment(beside(path, name)))
    changed = found.model_dump(exclude_unset=True) | content | {"methods": ({"name": "average"},)}
    return validated(Experiment, changed, str(path))


def _refuse_unknown(content: Mapping[str, Any], path: Path) -> None:
    """Refuse what is a key of neither, and the methods of an experiment, which are the space here."""
    known = ["experiment", *(key for key in Experiment.model_fields if key not in ("methods", "subsets"))]
    for key in content:
        if key not in known:
            raise InputError(
                f"{path}: the key {quoted(key)} is unknown; known are "
                f"{', '.join([*SearchSettings.model_fields, *known])}."
            )
