"""What is searched over: the settings of methods, which method, and how much each task counts.

    methods:
      - {name: ties, density: {low: 0.05, high: 0.9}, scaling: {low: 0.3, high: 3.0, log: true}}
      - {name: dare, drop_rate: {choose: [0.5, 0.8]}, scaling: {low: 0.1, high: 1.5, points: 3}}
    weights: {low: 0.2, high: 2.0}

A candidate is one point of it. The names of its numbers are those that Optuna keeps them by: `method`,
`ties.density`, `dare.scaling[0]`, `weights.math`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from merging.known_methods import find_method, make_method
from merging.learned_method import LearnedMethod
from merging.method_file import class_name
from merging.tuning import CHOOSE, values_to_choose
from merging.varying import Scalar
from merging.weighting import recipe_weights
from results.errors import InputError
from results.validation import Settings, Several, validated

_RANGE_KEYS = {"low", "high"}


class Suggesting(Protocol):
    """What gives a candidate's numbers: a trial of Optuna's, or the numbers of one that was tried."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Return a number."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """Return a whole number."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Return one of the choices."""


@dataclass(frozen=True)
class Known:
    """Gives the numbers of a candidate that was tried."""

    params: Mapping[str, Any]

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Return the number of this name."""
        return float(self.params[name])

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """Return the whole number of this name."""
        return int(self.params[name])

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Return the choice of this name."""
        return self.params[name]


class Range(Settings):
    """Numbers between two bounds, both included."""

    low: float
    high: float
    log: bool = False
    """Whether numbers are drawn by their logarithm."""
    integer: bool = False
    """Whether they are whole numbers."""
    points: int | None = Field(None, ge=2)
    """Numbers at so many points over the depth of the model, with straight lines between them."""
    per_task: bool = False
    """A number for each task."""

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.low >= self.high:
            raise ValueError(
                f"a range from {self.low:g} to {self.high:g} is empty: 'low' must be below 'high'"
            )
        if self.log and self.low <= 0:
            raise ValueError(f"a range with 'log' begins above 0, not at {self.low:g}")
        if self.integer and not (self.low.is_integer() and self.high.is_integer()):
            raise ValueError("the bounds of a range with 'integer' are whole numbers")
        if self.points and self.per_task:
            raise ValueError("either 'points' or 'per_task' is expected")
        return self

    def names(self, name: str, tasks: Sequence[str]) -> list[str]:
        """Return the names of its numbers."""
        if self.per_task:
            return [f"{name}.{task}" for task in tasks]
        return [f"{name}[{place}]" for place in range(self.points)] if self.points else [name]

    def suggested(self, name: str, tasks: Sequence[str], suggesting: Suggesting) -> Any:
        """Return a number, several over the depth, or one by task."""
        numbers = [self._one(each, suggesting) for each in self.names(name, tasks)]
        if self.per_task:
            return dict(zip(tasks, numbers, strict=True))
        return numbers if self.points else numbers[0]

    def _one(self, name: str, suggesting: Suggesting) -> float | int:
        if self.integer:
            return suggesting.suggest_int(name, int(self.low), int(self.high), log=self.log)
        return suggesting.suggest_float(name, self.low, self.high, log=self.log)


@dataclass(frozen=True)
class Choice:
    """Values of which one is taken; what is neither text nor number goes by its JSON."""

    values: tuple[Any, ...]

    @property
    def by_key(self) -> dict[Any, Any]:
        """The values by what Optuna keeps them by."""
        return {
            value if value is None or isinstance(value, Scalar) else json.dumps(value): value
            for value in self.values
        }

    def names(self, name: str, tasks: Sequence[str]) -> list[str]:
        """Return the only name."""
        return [name]

    def suggested(self, name: str, tasks: Sequence[str], suggesting: Suggesting) -> Any:
        """Return one of the values."""
        return self.by_key[suggesting.suggest_categorical(name, list(self.by_key))]


Searched = Range | Choice


def searched(value: object, source: str) -> Searched | None:
    """Return what a setting is searched over; None of a plain value.

    Raises:
        InputError: a range or a choice is written wrongly.
    """
    if isinstance(value, Range):
        return value
    if not isinstance(value, Mapping):
        return None
    if _RANGE_KEYS & value.keys():
        as_floats = {
            key: float(bound) if key in _RANGE_KEYS and type(bound) is int else bound
            for key, bound in value.items()
        }
        return validated(Range, as_floats, source)
    listed = values_to_choose(value, CHOOSE)
    return None if listed is None else Choice(tuple(listed))


class SpaceMethod(Settings):
    """One method; further keys are its settings, values or what is searched over."""

    model_config = ConfigDict(extra="allow")

    name: str = Field(min_length=1)
    """The method's, or `path/to/file.py:Class`."""
    label: str | None = Field(None, min_length=1)
    """What it is called among the methods; else its name."""

    @property
    def title(self) -> str:
        """What it is called."""
        return self.label or class_name(self.name)

    @property
    def settings(self) -> dict[str, Any]:
        """The further keys."""
        return dict(self.model_extra or {})

    @property
    def searched(self) -> dict[str, Searched]:
        """What is searched over, by setting."""
        found = {
            setting: searched(value, f"The setting '{setting}' of {self.title}")
            for setting, value in self.settings.items()
        }
        return {setting: space for setting, space in found.items() if space is not None}


def _as_method(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


@dataclass(frozen=True)
class Candidate:
    """A point of the space: what is merged, and how.

    Attributes:
        title: of the method among those of the space.
        method: its name, or its file.
        settings: of the method.
        weights: of the recipe, by task, 1 on average; empty where all tasks count alike.
    """

    title: str
    method: str
    settings: Mapping[str, Any]
    weights: Mapping[str, float]


class Space(Settings):
    """What is searched over."""

    methods: Several[Annotated[SpaceMethod, BeforeValidator(_as_method)]] = Field(min_length=1)
    """The methods; with several, which one is searched too."""
    weights: dict[str, Any] | None = None
    """A range, from which each task has a weight of its own; or by task a range or a number. They are divided
    by their mean: how far a merge goes is what a method's scaling says."""

    @property
    def varied_weights(self) -> Range | None:
        """The range of all tasks' weights, where one is given."""
        given = searched(self.weights, "The weights")
        if isinstance(given, Choice) or (given and (given.points or given.per_task or given.integer)):
            raise InputError("The weights: a range with 'low', 'high' and perhaps 'log' is expected.")
        return given

    def weights_of(self, tasks: Sequence[str]) -> dict[str, Range | float]:
        """Return by task what its weight is, or is searched over; empty where all count alike.

        Raises:
            InputError: the weights are written wrongly, below 0, or not those of the tasks.
        """
        if self.weights is None:
            return {}
        if (given := self.varied_weights) is not None:
            found: dict[str, Range | float] = dict.fromkeys(tasks, given)
        else:
            if set(self.weights) != set(tasks):
                raise InputError(
                    f"The weights are of {', '.join(map(str, self.weights))}, but the tasks are "
                    f"{', '.join(tasks)}; name each once, or give one range for all."
                )
            found = {task: _weight(self.weights[task], task) for task in tasks}
        for task, weight in found.items():
            if (weight.low if isinstance(weight, Range) else weight) < 0:
                raise InputError(f"The weight of {task} may be below 0: give numbers from 0 on.")
        return found

    def candidate(self, suggesting: Suggesting, tasks: Sequence[str]) -> Candidate:
        """Return the candidate of some numbers, which are asked for in a fixed order.

        Args:
            suggesting: gives them.
            tasks: whose experts are merged.
        """
        entry = self.methods[0]
        if len(self.methods) > 1:
            titles = [method.title for method in self.methods]
            entry = self.methods[titles.index(suggesting.suggest_categorical("method", titles))]
        settings = entry.settings
        for setting, space in entry.searched.items():
            settings[setting] = space.suggested(f"{entry.title}.{setting}", tasks, suggesting)
        weights = {
            task: weight.suggested(f"weights.{task}", (), suggesting) if isinstance(weight, Range) else weight
            for task, weight in self.weights_of(tasks).items()
        }
        return Candidate(entry.title, entry.name, settings, _of_mean_one(weights))

    def numeric(self, tasks: Sequence[str]) -> dict[str, Range] | None:
        """Return the ranges of all numbers, by name; None where methods or values are chosen among."""
        if len(self.methods) > 1:
            return None
        found: dict[str, Range] = {}
        for setting, space in self.methods[0].searched.items():
            if isinstance(space, Choice):
                return None
            found |= dict.fromkeys(space.names(f"{self.methods[0].title}.{setting}", tasks), space)
        weights = self.weights_of(tasks)
        return found | {f"weights.{task}": of for task, of in weights.items() if isinstance(of, Range)}

    def check(self, tasks: Sequence[str]) -> None:
        """Refuse a space with a candidate that could not be merged, as far as methods and settings say.

        Raises:
            InputError: a method or a setting is unknown, a bound is out of range, nothing is searched.
        """
        titles = [method.title for method in self.methods]
        for title in titles:
            if titles.count(title) > 1:
                raise InputError(
                    f"Two methods of the space are called '{title}': give one of them a `label`."
                )
        for method in self.methods:
            if issubclass(find_method(method.name).method_class, LearnedMethod):
                raise InputError(
                    f"Method {method.name!r} learns its coefficients, so a search has nothing to try: leave "
                    "it out, or compare it by `manyshot run`."
                )
            for settings in _corners(method, tasks, over_depth=False):
                make_method(method.name, settings)
        varied = [one for one in self.weights_of(tasks).values() if isinstance(one, Range)]
        if len(self.methods) == 1 and not varied and not self.methods[0].searched:
            raise InputError(
                "The space has one point: give a setting a range, as in {low: 0.1, high: 1.0}, or values to "
                "choose among, as in {choose: [0.2, 0.5]}."
            )

    def corners(self, tasks: Sequence[str]) -> Iterator[Candidate]:
        """Yield candidates at the bounds of each method's settings, which say whether all can be merged."""
        for method in self.methods:
            for settings in _corners(method, tasks, over_depth=True):
                yield Candidate(method.title, method.name, settings, {})


def _weight(value: object, task: str) -> Range | float:
    found = searched(value, f"The weight of {task}")
    if isinstance(found, Range) and not (found.points or found.per_task or found.integer):
        return found
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise InputError(f"The weight of {task} is {value!r}; a number or a range {{low, high}} is expected.")


def _of_mean_one(weights: Mapping[str, float]) -> dict[str, float]:
    """Return weights that are 1 on average; equal ones where all are 0."""
    total = sum(weights.values())
    if not weights or total == 0:
        return dict.fromkeys(weights, 1.0)
    return recipe_weights({task: weight / total for task, weight in weights.items()})


def _corners(method: SpaceMethod, tasks: Sequence[str], *, over_depth: bool) -> Iterator[dict[str, Any]]:
    """Yield settings with each bound and each choice at least once.

    Args:
        method: whose settings.
        tasks: whose experts are merged.
        over_depth: whether settings over the depth are given so, or by the number of one tensor.
    """
    values = {
        setting: list(space.values) if isinstance(space, Choice) else _bounds(space, tasks, over_depth)
        for setting, space in method.searched.items()
    }
    for place in range(max(map(len, values.values()), default=1)):
        yield {**method.settings, **{name: each[min(place, len(each) - 1)] for name, each in values.items()}}


def _bounds(space: Range, tasks: Sequence[str], over_depth: bool) -> list[Any]:
    """Both bounds of a range, as the method gets them."""
    low, high = (int(bound) if space.integer else bound for bound in (space.low, space.high))
    if space.per_task:
        return [dict.fromkeys(tasks, low), dict.fromkeys(tasks, high)]
    if space.points and over_depth:
        return [[low] * (space.points - 1) + [high], [high] * (space.points - 1) + [low]]
    return [low, high]
