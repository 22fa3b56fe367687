"""Choosing a method's settings by what each gives on validation data."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Literal, get_args

from merging.learned import LearnedMethod
from merging.method import find_method, make
from merging.weighting import Kind, Needs, Signals
from results.errors import InputError
from results.files import locked, write_atomically

Objective = Literal["average", "worst_task"]


def grid(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return every combination of settings of which some are lists of what to try; one where none is.

    Raises:
        InputError: a list is empty.
    """
    tried = {name: value for name, value in settings.items() if isinstance(value, list | tuple)}
    for name, values in tried.items():
        if not values:
            raise InputError(f"The setting '{name}' is an empty list; give a number, or numbers to try.")
    return [{**settings, **dict(zip(tried, values, strict=True))} for values in product(*tried.values())]


def needs(name: str, settings: Mapping[str, Any]) -> Needs:
    """Return what a method's settings ask of the signals: to be chosen among, or to be learned."""
    candidates = grid(to_try(settings))
    found = Needs(scores=len(candidates) > 1)
    method = make(name, candidates[0])
    if isinstance(method, LearnedMethod) and method.coefficients is None:
        of_tests = method.source == "test"
        found |= Needs(losses=not of_tests, questions=of_tests)
    return found


def check_settings(
    name: str,
    settings: Mapping[str, Any],
    tasks: Sequence[str],
    *,
    space: str = "delta",
    weighting: Kind = "uniform",
) -> None:
    """Refuse settings of a method that could not be merged by, whichever are chosen, before any work.

    Raises:
        InputError: a setting is unknown or of the wrong type, or names a task that is not there.
    """
    for candidate in grid(to_try(settings)):
        method = make(name, candidate)
        if isinstance(method, LearnedMethod):
            if space == "factors":
                raise InputError(
                    f"Method {name!r} learns coefficients of whole task vectors: take the space 'delta'."
                )
            if weighting != "uniform":
                raise InputError(
                    f"Method {name!r} learns how much each task counts: leave out its weighting."
                )
        for setting, value in candidate.items():
            if isinstance(value, dict) and set(value) != set(tasks):
                raise InputError(
                    f"Method {name!r}: setting {setting!r} is for {', '.join(map(str, value))}, but the "
                    f"tasks are {', '.join(tasks)}; name each once."
                )
    for setting, value in settings.items():
        if _per_task(value) is not None and "only" not in find_method(name).settings:
            raise InputError(
                f"Method {name!r}: setting {setting!r} cannot be chosen for each task alone, which needs a "
                "method that can merge for one task; give a number or a list."
            )


def to_try(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same settings with `{per_task: [...]}`, a number for each task, as the list of these."""
    return {name: _per_task(value) or value for name, value in settings.items()}


def _per_task(value: Any) -> list[Any] | None:
    return value["per_task"] if isinstance(value, dict) and set(value) == {"per_task"} else None


def choose(
    settings: Mapping[str, Any],
    merge_to: Callable[[Mapping[str, Any], Path], object],
    signals: Signals,
    *,
    tasks: Sequence[str],
    objective: Objective,
    place: Path,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the settings that are best on validation data, and the curve: what each that was tried gave.

    Args:
        settings: some of them lists; or `{per_task: [...]}` for a number that is chosen for each task by that
            task alone, of methods with a setting `only`. It is chosen first, with the method's defaults in
            place of the lists.
        merge_to: merges by given settings into a folder.
        signals: the harness, which sees validation data only.
        tasks: whose normalised performance counts.
        objective: their mean, or the least of them; of equal settings the first is taken.
        place: folder for what is tried, one after the other, and for the curve.

    Raises:
        InputError: there is no such objective, or a setting is not one of the method.
    """
    if objective not in get_args(Objective):
        raise InputError(f"There is no objective '{objective}'; there are {', '.join(get_args(Objective))}.")
    curve_by_task: list[dict[str, Any]] = []
    for name, value in settings.items():
        if (values := _per_task(value)) is not None:
            fixed = {other: one for other, one in settings.items() if not isinstance(one, list | dict)}
            best_of = {}
            for task in tasks:
                chosen, tried = choose(
                    {**fixed, name: values, "only": task},
                    merge_to,
                    signals,
                    tasks=[task],
                    objective=objective,
                    place=place / f"{name} of {task}",
                )
                best_of[task] = chosen[name]
                curve_by_task += tried
            settings = {**settings, name: best_of}
    candidates = grid(settings)
    if len(candidates) == 1:
        return candidates[0], curve_by_task
    place.mkdir(parents=True, exist_ok=True)
    with locked(place / ".lock"):  # another process may try the same
        curve = _tried(candidates, merge_to, signals, tasks=tasks, objective=objective, place=place)
    best = max(range(len(curve)), key=lambda i: (curve[i]["value"], -i))
    return candidates[best], curve_by_task + curve


def _tried(
    candidates: Sequence[Mapping[str, Any]],
    merge_to: Callable[[Mapping[str, Any], Path], object],
    signals: Signals,
    *,
    tasks: Sequence[str],
    objective: Objective,
    place: Path,
) -> list[dict[str, Any]]:
    """What each of the candidates gives, gone on with from what was noted."""
    note = place / "tried.json"
    noted: list[dict[str, Any]] = json.loads(note.read_bytes()) if note.is_file() else []
    curve: list[dict[str, Any]] = []
    for one, candidate in zip(noted, candidates, strict=False):
        if one["settings"] != candidate:
            break
        curve.append(one)
    for number, candidate in enumerate(candidates[len(curve) :], start=len(curve)):
        out = place / f"tried-{number}"
        shutil.rmtree(out, ignore_errors=True)
        merge_to(candidate, out)
        reached = {task: signals.normalised(out, task) for task in tasks}
        value = worth(reached, objective, signals)
        curve.append({"settings": dict(candidate), "tasks": reached, "value": value})
        shutil.rmtree(out)
        write_atomically(note, (json.dumps(curve, indent=1) + "\n").encode())
    return curve


def worth(reached: Mapping[str, float], objective: Objective, signals: Signals) -> float:
    """Return what normalised performances by task come to: the least, or the mean over their benchmarks."""
    if objective == "worst_task":
        return min(reached.values())
    counts = {task: signals.benchmarks(task) for task in reached}
    return sum(value * counts[task] for task, value in reached.items()) / sum(counts.values())
