"""A method's settings that vary: one value a round, or values of which the best on validation data is chosen.

`scaling: 0.3` is a value. `scaling: [1.6, 1.2, 1.0]` has one value for each of three rounds. `{choose: [0.2,
0.3]}` has the value chosen that is best on validation data, and `{choose_per_task: [0.2, 0.3]}` one value for
each task. Several settings to choose are chosen together, over all their combinations.
"""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import RootModel

from merging.known_methods import find_method, make_method
from merging.learned_method import LearnedMethod
from merging.measured_method import MeasuredMethod
from merging.signals import SignalNeeds, Signals
from merging.weighting import how_many
from results.errors import InputError
from results.json_values import json_value
from results.merge_trace import Trial
from results.reading import read_json
from results.validation import validated
from results.words import counted
from results.writing import locked, write_atomically

Objective = Literal["average", "worst_task"]
CHOOSE, CHOOSE_PER_TASK = "choose", "choose_per_task"


def values_to_choose(value: Any, key: str = CHOOSE) -> list[Any] | None:
    """Return what `{key: [...]}` lists; None for any other value of a setting.

    Raises:
        InputError: nothing is listed.
    """
    if not (isinstance(value, Mapping) and set(value) == {key}):
        return None
    listed = value[key]
    if not isinstance(listed, list | tuple) or not listed:
        raise InputError(f"'{key}' is {listed!r}; a list of values to choose among is expected.")
    return _unique(listed)


def _unique(values: Iterable[Any]) -> list[Any]:
    """Values without repetitions, in order; true and 1.0 are two."""
    return list({json.dumps(value, sort_keys=True, default=str): value for value in values}.values())


def chosen_settings(settings: Mapping[str, Any]) -> list[str]:
    """Return the names of the settings that are chosen on validation data."""
    keys = (CHOOSE, CHOOSE_PER_TASK)
    return [name for name, value in settings.items() if any(values_to_choose(value, key) for key in keys)]


def round_settings(settings: Mapping[str, Any], round_index: int, rounds: int) -> dict[str, Any]:
    """Return the settings of one round, from 1, where some have one value a round.

    Raises:
        InputError: a setting has more or fewer values than there are rounds.
    """
    return {name: _round_value(name, value, round_index, rounds) for name, value in settings.items()}


def _round_value(name: str, value: Any, round_index: int, rounds: int) -> Any:
    for key in (CHOOSE, CHOOSE_PER_TASK):
        if listed := values_to_choose(value, key):
            return {key: _unique(_round_value(name, each, round_index, rounds) for each in listed)}
    if not isinstance(value, list | tuple):
        return value
    if len(value) != rounds:
        raise InputError(
            f"The setting '{name}' has {counted(len(value), 'value')}, one for each round, and there "
            f"{how_many(rounds)}; give one for each, a single value, or "
            f"{{{CHOOSE}: [...]}} to have one chosen on validation data."
        )
    return value[round_index - 1]


def grid(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return every combination of the values that are listed under `choose`; one where none are."""
    listed = {name: values for name, value in settings.items() if (values := values_to_choose(value))}
    return [
        {**settings, **dict(zip(listed, combined, strict=True))} for combined in product(*listed.values())
    ]


def number_of_candidates(settings: Mapping[str, Any]) -> int:
    """Return how often all tasks' validation data are scored to choose the settings; 0 where none is chosen.

    A value that is tried for one task alone is scored on that task's data; as many tasks as there are make
    one candidate.
    """
    combinations = len(grid(settings))
    per_task = [len(values) for value in settings.values() if (values := _per_task(value))]
    return combinations * sum(per_task) + (combinations if combinations > 1 else 0)


def example_settings(settings: Mapping[str, Any], rounds: int = 1) -> Iterator[dict[str, Any]]:
    """Yield settings by which a method can be made, which have each listed value at least once."""
    for round_index in range(1, rounds + 1):
        for combination in grid(round_settings(settings, round_index, rounds)):
            per_task = {name: values for name, value in combination.items() if (values := _per_task(value))}
            for combined in product(*per_task.values()):
                yield {**combination, **dict(zip(per_task, combined, strict=True))}


def settings_needs(name: str, settings: Mapping[str, Any], rounds: int = 1) -> SignalNeeds:
    """Return what a method's settings ask of the signals: to be chosen among, or to be learned."""
    to_choose = SignalNeeds(scores=number_of_candidates(settings) > 0)
    method = make_method(name, next(example_settings(settings, rounds)))
    if isinstance(method, LearnedMethod) and method.coefficients is None:
        of_tests = method.source == "test"
        return to_choose | SignalNeeds(losses=not of_tests, questions=of_tests)
    if isinstance(method, MeasuredMethod) and method.measured is None:
        return to_choose | SignalNeeds(losses=True)
    return to_choose


def check_settings(
    name: str,
    settings: Mapping[str, Any],
    tasks: Sequence[str],
    *,
    rounds: int = 1,
    space: str = "delta",
    weighting: str = "uniform",
) -> None:
    """Refuse settings of a method that could not be merged by, whichever are chosen, before any work.

    Raises:
        InputError: a setting is unknown or of the wrong type, names a task that is not there, or does not
            have one value for each round.
    """
    for candidate in example_settings(settings, rounds):
        method = make_method(name, candidate)
        if isinstance(method, LearnedMethod):
            if space == "factors":
                raise InputError(
                    f"Method {name!r} learns coefficients of whole task vectors: take the space 'delta'."
                )
            if weighting != "uniform":
                raise InputError(
                    f"Method {name!r} learns how much each task counts: leave out its weighting."
                )
        if isinstance(method, MeasuredMethod) and space == "factors":
            raise InputError(f"Method {name!r} measures whole experts: take the space 'delta'.")
        for setting, value in candidate.items():
            if isinstance(value, dict) and set(value) != set(tasks):
                raise InputError(
                    f"Method {name!r}: setting {setting!r} is for {', '.join(map(str, value))}, but the "
                    f"tasks are {', '.join(tasks)}; name each once."
                )
    per_task = {setting: values for setting, value in settings.items() if (values := _per_task(value))}
    for setting, values in per_task.items():
        if "only" not in find_method(name).settings or len(per_task) > 1:
            raise InputError(
                f"Method {name!r}: setting {setting!r} cannot be chosen for each task alone, which needs a "
                "method that can merge for one task, and can be asked of one setting only; give a number or "
                f"{{{CHOOSE}: [...]}}."
            )
        make_method(
            name, {**next(example_settings(settings, rounds)), setting: dict.fromkeys(tasks, values[0])}
        )


def _per_task(value: Any) -> list[Any] | None:
    return values_to_choose(value, CHOOSE_PER_TASK)


def grid_search(
    settings: Mapping[str, Any],
    tasks: Sequence[str],
    value_of: Callable[[Mapping[str, Any], Sequence[str]], float],
) -> dict[str, Any]:
    """Return the best of the settings that can be chosen.

    Every combination of the values under `choose` is tried. A value under `choose_per_task` is chosen for
    each task by that task alone, merged by the method's setting `only`, within every such combination: so
    settings that depend on each other are chosen together. Of equal settings the first is taken.

    Args:
        settings: those of one round.
        tasks: whose performance counts.
        value_of: called with each settings that are tried and the tasks that decide; more is better.
    """
    candidates = []
    for combination in grid(settings):
        candidate = dict(combination)
        for name, listed in combination.items():
            alone = {**combination, "only": None}
            if (values := _per_task(listed)) is not None:
                candidate[name] = {
                    task: max(
                        values, key=lambda value: value_of({**alone, name: value, "only": task}, [task])
                    )
                    for task in tasks
                }
        candidates.append(candidate)
    if len(candidates) == 1:
        return candidates[0]
    reached = [value_of(candidate, tasks) for candidate in candidates]
    return candidates[reached.index(max(reached))]


def choose_settings(
    settings: Mapping[str, Any],
    merge_to: Callable[[Mapping[str, Any], Path], object],
    signals: Signals,
    *,
    tasks: Sequence[str],
    objective: Objective,
    folder: Path,
) -> tuple[dict[str, Any], tuple[Trial, ...]]:
    """Return the settings that are best on validation data by `grid_search`, and all that was tried.

    Args:
        settings: those of one round.
        merge_to: merges by given settings into a folder.
        signals: of checkpoints, on validation data only.
        tasks: whose normalised performance counts.
        objective: their mean, or the least of them.
        folder: for what is tried, one after the other, and for what it gave.

    Raises:
        InputError: there is no such objective, or a setting is not one of the method.
    """
    if objective not in get_args(Objective):
        raise InputError(f"There is no objective '{objective}'; there are {', '.join(get_args(Objective))}.")
    if not chosen_settings(settings):
        return dict(settings), ()
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock"):  # another process may try the same
        trials = _Trials(merge_to, signals, objective, folder)
        return grid_search(settings, tasks, trials.value_of), tuple(trials.made)


class _TrialsFile(RootModel[list[Trial]]):
    """The file of all trials of a round."""


class _Trials:
    """Merges settings that are tried, scores and deletes the merged checkpoint, and keeps what it gave."""

    def __init__(
        self,
        merge_to: Callable[[Mapping[str, Any], Path], object],
        signals: Signals,
        objective: Objective,
        folder: Path,
    ) -> None:
        self._merge_to, self._signals, self._objective, self._folder = merge_to, signals, objective, folder
        self._file = folder / "trials.json"
        self.made: list[Trial] = []
        self._earlier: list[Trial] = []
        if self._file.is_file():
            advice = "remove it, and what was tried is tried again"
            self._earlier = validated(
                _TrialsFile, read_json(self._file, advice), str(self._file), advice
            ).root

    def value_of(self, candidate: Mapping[str, Any], tasks: Sequence[str]) -> float:
        """Return what a candidate comes to on some tasks."""
        settings = json_value(candidate)
        for trial in self.made + self._earlier:
            if trial.settings == settings and list(trial.tasks) == list(tasks):
                break
        else:
            trial = self._try(settings, candidate, tasks)
        if trial not in self.made:
            self.made.append(trial)
            kept = self.made + [other for other in self._earlier if other not in self.made]
            content = [other.model_dump(mode="json") for other in kept]
            write_atomically(self._file, (json.dumps(content, indent=1) + "\n").encode())
        return trial.value

    def _try(self, settings: dict[str, Any], candidate: Mapping[str, Any], tasks: Sequence[str]) -> Trial:
        out = self._folder / f"trial-{len(self.made)}"
        shutil.rmtree(out, ignore_errors=True)
        self._merge_to(candidate, out)
        performance = {task: self._signals.normalised(out, task) for task in tasks}
        shutil.rmtree(out)
        value = aggregate(performance, self._objective, self._signals)
        return Trial(settings=settings, tasks=performance, value=value)


def aggregate(performance: Mapping[str, float], objective: Objective, signals: Signals) -> float:
    """Return what normalised performances by task come to: the least, or the mean over their benchmarks."""
    if objective == "worst_task":
        return min(performance.values())
    counts = {task: signals.benchmarks(task) for task in performance}
    return sum(value * counts[task] for task, value in performance.items()) / sum(counts.values())
