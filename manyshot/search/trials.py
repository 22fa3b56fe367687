"""The trials of a search: Optuna suggests them, and its SQLite storage keeps them.

What is suggested is a function of the seed, the trial's number and the trials before it. Optuna's samplers
keep more than that in memory, and CMA-ES would pickle it into the storage. So a search that starts again has
them suggest all trials anew, in memory, each with random numbers of its own; that they are those that were
kept is checked. A trial is kept before it is evaluated, with all its numbers at once; one that has no value
yet was killed, and is evaluated again. The trials of a batch are suggested before the first of them is
evaluated, so they know of those before the batch alone, in whatever order they are done.
"""

import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from manyshot.search.file import SamplerName, SearchSettings
from manyshot.search.space import Candidate, Known
from manyshot.search.surrogate import Coordinates, Surrogate, fitted, number_of_terms
from results.errors import InputError
from results.json_values import cache_key, json_value

if TYPE_CHECKING:
    import optuna

_NAME = "search"
_ABOUT, _MADE_OF, _WHOLE = "manyshot", "made_of", "on all documents, trial "


@dataclass(frozen=True)
class Outcome:
    """What a candidate gave.

    Attributes:
        values: of the objectives, on validation data; empty where it failed.
        tasks: normalised performance by task.
        kept: by benchmark, what was kept of each part of the documents that was scored.
        documents: how many were scored.
        seconds: of merging and scoring.
        stopped: whether it was stopped before all documents, so that its values are estimates.
        estimated: whether it was scored on a part of the documents, from which its values are estimated.
        failed: why it could not be merged or scored; empty where it could.
    """

    values: tuple[float, ...]
    tasks: Mapping[str, float] = field(default_factory=dict)
    kept: Mapping[str, Sequence[str]] = field(default_factory=dict)
    documents: int = 0
    seconds: float = 0.0
    stopped: bool = False
    estimated: bool = False
    failed: str = ""


@dataclass(frozen=True)
class Trial:
    """A candidate with its number, and what it gave."""

    number: int
    candidate: Candidate
    params: Mapping[str, Any]
    outcome: Outcome

    @property
    def counts(self) -> bool:
        """Whether it may win: it was scored on all documents."""
        return not (self.outcome.failed or self.outcome.stopped or self.outcome.estimated)


@dataclass(frozen=True)
class Pending:
    """A candidate that is to be evaluated."""

    number: int
    candidate: Candidate
    params: Mapping[str, Any]


def needs_optuna(sampler: SamplerName) -> dict[str, str]:
    """Return the versions of the libraries that suggest.

    Raises:
        InputError: they are not installed.
    """
    try:
        import cmaes  # noqa: F401 - which Optuna imports by itself when it is too late to say so
        import optuna
    except ImportError:
        raise InputError(
            "A search needs Optuna, which is not installed: pip install 'manyshot[search]'."
        ) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return {name: version(name) for name in ("optuna", *(["cmaes"] if sampler == "cmaes" else []))}


class Trials:
    """The trials of a search.

    Args:
        file: of the storage, made where it is not there.
        settings: of the search.
        tasks: whose experts are merged.
        made_of: all that decides what a candidate gives, as JSON values by what they are called.

    Attributes:
        before: the trials of all batches before the present one, in order.

    Raises:
        InputError: the file is of another search, or Optuna would suggest others than it holds.
    """

    def __init__(
        self, file: Path, settings: SearchSettings, tasks: Sequence[str], made_of: Mapping[str, Any]
    ) -> None:
        import optuna

        self._file, self._settings, self._tasks = file, settings, tuple(tasks)
        self._storage = optuna.storages.RDBStorage(f"sqlite:///{file}")
        directions = [optuna.study.StudyDirection.MAXIMIZE] * len(settings.objective)
        self._kept = optuna.create_study(
            storage=self._storage,
            study_name=_NAME,
            directions=directions,
            sampler=optuna.samplers.RandomSampler(),
            load_if_exists=True,
        )
        self._study = optuna.create_study(directions=directions)
        self.before: list[Trial] = []
        self._asked: list[optuna.Trial] = []
        self._outcomes: dict[int, Trial] = {}
        self._begun = 0
        self._check(json_value(made_of))
        self._go_on()

    @property
    def finished(self) -> list[Trial]:
        """All trials that have an outcome, in order."""
        return [*self.before, *(self._outcomes[number] for number in sorted(self._outcomes))]

    def batch(self, end: int | None = None) -> list[Pending]:
        """Return the candidates of the present batch that are not finished.

        Args:
            end: the number of the trial to stop before.
        """
        import optuna

        if not self._asked:
            self._ask()
        wanted = [asked for asked in self._asked if end is None or asked.number < end]
        for asked in wanted:
            if asked.number >= self._begun:
                running = optuna.trial.create_trial(
                    state=optuna.trial.TrialState.RUNNING,
                    params=asked.params,
                    distributions=asked.distributions,
                )
                self._kept.add_trial(running)
                self._begun += 1
        return [self._pending(asked) for asked in wanted if asked.number not in self._outcomes]

    def finish(self, pending: Pending, outcome: Outcome) -> Trial:
        """Keep what a candidate of the present batch gave."""
        import optuna

        trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._kept._study_id, pending.number)
        self._storage.set_trial_user_attr(trial_id, _ABOUT, _about(outcome))
        state = optuna.trial.TrialState.FAIL if outcome.failed else optuna.trial.TrialState.COMPLETE
        self._kept.tell(pending.number, None if outcome.failed else list(outcome.values), state=state)
        return self._finished(pending, outcome)

    def on_all_documents(self, number: int, evaluate: Callable[[], Outcome]) -> Outcome:
        """Return what the candidate of an estimated trial gave on all documents, which is made once.

        Args:
            number: of the trial.
            evaluate: scores it; kept unless it failed.
        """
        name = f"{_WHOLE}{number}"
        known = self._kept.user_attrs.get(name)
        if known is not None:
            return _outcome(known["values"], known["about"])
        outcome = evaluate()
        if not outcome.failed:
            self._kept.set_user_attr(name, {"values": outcome.values, "about": _about(outcome)})
        return outcome

    def importances(self, objective: int) -> dict[str, float]:
        """Return by number of the space how much of the variance of an objective it explains, by functional
        ANOVA (Hutter et al. 2014) over the trials; empty where there are too few, or all are equal.

        Args:
            objective: its place.
        """
        import optuna

        try:
            with _quiet():
                return dict(
                    optuna.importance.get_param_importances(
                        self._kept,
                        evaluator=optuna.importance.FanovaImportanceEvaluator(seed=self._settings.seed),
                        target=lambda trial: trial.values[objective],
                    )
                )
        except (ValueError, RuntimeError):  # what Optuna says of too few trials
            return {}

    def surrogate(self) -> Surrogate | None:
        """The sampler map's, of all batches that are done; None of another, and where they are too few."""
        known = [trial for trial in self.before if not trial.outcome.failed]
        if self._settings.sampler_name != "map":
            return None
        coordinates = Coordinates(self._settings.space, self._tasks)
        if len(known) < (self._settings.samples or 2 * number_of_terms(coordinates.variables)):
            return None
        points = np.array([coordinates.point(trial.params) for trial in known])
        return fitted(coordinates, points, np.array([trial.outcome.values for trial in known]))

    def _on_front(self, surrogate: Surrogate, number: int) -> "optuna.samplers.BaseSampler":
        """A sampler that suggests a point of the surrogate's front, apart from all that were suggested."""
        from optuna import samplers

        suggested = [*(trial.params for trial in self.before), *(asked.params for asked in self._asked)]
        points = np.array([surrogate.coordinates.point(params) for params in suggested])
        point = surrogate.next_point(points, _seed(self._settings, number))
        params = surrogate.coordinates.params(point)
        return samplers.PartialFixedSampler(params, samplers.RandomSampler(seed=0))

    def _pending(self, asked: "optuna.Trial") -> Pending:
        candidate = self._settings.space.candidate(Known(asked.params), self._tasks)
        return Pending(asked.number, candidate, dict(asked.params))

    def _ask(self) -> None:
        """Have Optuna suggest a batch in memory."""
        with _quiet():
            surrogate = self.surrogate()
            for place in range(self._settings.batch):
                number = len(self.before) + place
                self._study.sampler = (
                    self._on_front(surrogate, number) if surrogate else _sampler(self._settings, number)
                )
                asked = self._study.ask()
                self._settings.space.candidate(asked, self._tasks)
                self._asked.append(asked)

    def _finished(self, pending: Pending, outcome: Outcome) -> Trial:
        """Take an outcome; Optuna is told those of a batch together, in order."""
        import optuna

        trial = Trial(pending.number, pending.candidate, pending.params, outcome)
        self._outcomes[trial.number] = trial
        if len(self._outcomes) == len(self._asked):
            for asked, one in zip(self._asked, self.finished[len(self.before) :], strict=True):
                if one.outcome.failed:
                    self._study.tell(asked, state=optuna.trial.TrialState.FAIL)
                else:
                    self._study.tell(asked, list(one.outcome.values))
            self.before = self.finished
            self._asked, self._outcomes = [], {}
        return trial

    def _check(self, made_of: Mapping[str, Any]) -> None:
        """Refuse the storage of another search."""
        attributes = self._kept.user_attrs
        if _MADE_OF not in attributes:  # killed before it was written, or just made
            self._kept.set_user_attr(_MADE_OF, made_of)
            return
        there = attributes[_MADE_OF]
        for name in (*made_of, *there):
            if there.get(name) != made_of.get(name):
                raise InputError(
                    f"{self._file} holds a search with another {name.replace('_', ' ')}: name another folder "
                    "with --out, or remove this one."
                )

    def _go_on(self) -> None:
        """Suggest again what the storage holds, and check that it is the same."""
        from optuna.trial import TrialState

        for kept in sorted(self._kept.get_trials(), key=lambda trial: trial.number):
            if not self._asked:
                self._ask()
            place = kept.number - len(self.before)
            if place >= len(self._asked) or self._asked[place].params != kept.params:
                raise InputError(
                    f"{self._file}: Optuna does not suggest trial {kept.number} as it is kept, so the search "
                    "cannot go on: name another folder with --out."
                )
            self._begun += 1
            if kept.state != TrialState.RUNNING:
                outcome = _outcome(kept.values or (), kept.user_attrs[_ABOUT])
                self._finished(self._pending(self._asked[place]), outcome)


def _about(outcome: Outcome) -> str:
    """All of an outcome but its values, as JSON."""
    return json.dumps({name: value for name, value in vars(outcome).items() if name != "values"})


def _outcome(values: Sequence[float], about: str) -> Outcome:
    return Outcome(values=tuple(values), **json.loads(about))


def _sampler(settings: SearchSettings, number: int) -> "optuna.samplers.BaseSampler":
    """A sampler with random numbers of its own for one trial."""
    from optuna import samplers

    seed = _seed(settings, number)
    name = settings.sampler_name
    if name == "tpe":
        return samplers.TPESampler(seed=seed, multivariate=True, group=True)
    if name == "cmaes":
        return samplers.CmaEsSampler(seed=seed)
    if name == "nsgaii":
        return samplers.NSGAIISampler(seed=seed, population_size=settings.population)
    if name == "nsgaiii":
        return samplers.NSGAIIISampler(seed=seed, population_size=settings.population)
    return samplers.RandomSampler(seed=seed)


def _seed(settings: SearchSettings, number: int) -> int:
    """The seed of what is random about a trial's suggestion."""
    return int(cache_key([settings.seed, number])[:8], 16)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep away what Optuna says of options that it may still change."""
    from optuna.exceptions import ExperimentalWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        warnings.simplefilter("ignore", FutureWarning)
        yield
