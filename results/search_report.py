"""What a search for the best merge found and what it cost: its candidates, and those that were tested."""

from pathlib import Path

from pydantic import Field, JsonValue

from results import pareto
from results.reading import read_json
from results.record import Name
from results.validation import Settings, Several, validated


class SearchTrial(Settings):
    """A candidate that was tried."""

    number: int
    """From 0, in the order in which they were suggested."""
    method: Name
    """What the space calls its method."""
    params: dict[str, JsonValue]
    """The numbers of the space that it has."""
    values: Several[float] = ()
    """Of the objectives, on validation data; of one that was stopped or estimated, estimates; empty where it
    failed."""
    tasks: dict[str, float] = {}
    """Normalised performance by task, on the validation documents that were scored."""
    documents: int = Field(0, ge=0)
    """How many were scored."""
    seconds: float = 0.0
    stopped: bool = False
    """Whether it was stopped before all documents."""
    estimated: bool = False
    """Whether it was scored on a part of the documents alone, from which its values are estimated."""
    estimates: Several[float] = ()
    """What its values were estimated to be before it was scored on all documents."""
    failed: str = ""
    """Why it could not be merged or scored."""
    front: bool = False
    """Whether no candidate that was scored on all documents is better in every objective."""

    @property
    def in_part(self) -> bool:
        """Whether its values are estimates from a part of the documents."""
        return self.stopped or self.estimated


class EstimateErrors(Settings):
    """How far estimates are off, by the candidates that were scored on all documents in the end."""

    estimator: Name
    """By which candidates were searched."""
    endpoint_documents: int
    """How many documents the base and the experts were scored on."""
    best: Several[int]
    """Numbers of the candidates with the best estimates, among which the winner was chosen."""
    drawn: Several[int]
    """Numbers of others that were drawn by chance."""
    of_best: dict[str, float | None]
    """By estimator the mean absolute error, over candidates and objectives; `part` is the part alone."""
    of_drawn: dict[str, float | None]


class SurrogateFit(Settings):
    """How well a quadratic function fits an objective of all candidates; None where that is unknown."""

    r_squared: float | None = None
    """Share of the variance that it explains."""
    r_squared_left_out: float | None = None
    """The same where each candidate is predicted by the fit to all others."""


class Statistic(Settings):
    """A number on validation data, by which candidates were chosen, and on test data, which nothing saw."""

    name: Name
    validation: float
    test: float | None = None
    low: float | None = None
    """Lower limit of the test number's 95 % interval over documents."""
    high: float | None = None

    @property
    def optimism(self) -> float | None:
        """By how much the choice made the number on validation data too large: validation − test."""
        return None if self.test is None else self.validation - self.test


class TestedTrial(Settings):
    """A candidate that was chosen, and scored on test data then."""

    __test__ = False  # for pytest, which takes it for one by its name

    number: int
    label: Name
    """What the run in the store calls it."""
    recipe: Name
    """The recipe's file, from the search's folder."""
    objectives: Several[Statistic]
    others: Several[Statistic] = ()
    """The average, the worst task and each task, where they are no objectives."""


class SearchReport(Settings):
    """A search."""

    name: Name
    objectives: Several[Name]
    sampler: Name
    seed: int
    documents: int
    """Validation documents of one candidate that is scored on all of them."""
    trials: Several[SearchTrial]
    tested: Several[TestedTrial]
    chosen: int | None = None
    """Number of the point of the front that the user's weights took."""
    importances: dict[str, dict[str, float]] = {}
    """By objective, which share of its variance each number of the space explains; empty where unknown."""

    estimates: EstimateErrors | None = None
    """Where scores were estimated, how far estimates are off."""
    surrogate: dict[str, SurrogateFit] = {}
    """By objective, how well the sampler map's function fits."""

    @property
    def read(self) -> int:
        """Validation documents that all candidates were scored on together."""
        return sum(trial.documents for trial in self.trials)

    @property
    def seconds(self) -> float:
        """Seconds of merging and scoring candidates."""
        return sum(trial.seconds for trial in self.trials)

    @property
    def front_on_test(self) -> tuple[int, ...]:
        """The numbers of the tested candidates that no other of them is better than on test data."""
        known = [
            (tested.number, [statistic.test for statistic in tested.objectives if statistic.test is not None])
            for tested in self.tested
        ]
        whole = [(number, values) for number, values in known if len(values) == len(self.objectives)]
        return tuple(whole[place][0] for place in pareto.front([values for _, values in whole]))

    @property
    def front(self) -> tuple[SearchTrial, ...]:
        """The candidates of the front, in order."""
        return tuple(trial for trial in self.trials if trial.front)


def read_search(file: Path) -> SearchReport:
    """Read the report of a search.

    Raises:
        InputError: there is none, or it is broken.
    """
    advice = "run `manyshot search` again"
    return validated(SearchReport, read_json(file, advice), str(file), advice)
