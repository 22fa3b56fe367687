"""Choosing a method's settings by what each gives on validation data."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Literal, get_args

from merging.weighting import Signals
from results.errors import InputError
from results.files import write_atomically

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
        settings: some of them lists.
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
    candidates = grid(settings)
    if len(candidates) == 1:
        return candidates[0], []
    place.mkdir(parents=True, exist_ok=True)
    note = place / "tried.json"
    curve: list[dict[str, Any]] = json.loads(note.read_bytes()) if note.is_file() else []
    for candidate in candidates[len(curve) :]:
        out = place / "tried"
        shutil.rmtree(out, ignore_errors=True)
        merge_to(candidate, out)
        reached = {task: signals.normalised(out, task) for task in tasks}
        curve.append({"settings": candidate, "tasks": reached, "value": worth(reached, objective)})
        write_atomically(note, (json.dumps(curve, indent=1) + "\n").encode())
        shutil.rmtree(out)
    best = max(range(len(curve)), key=lambda i: (curve[i]["value"], -i))
    return candidates[best], curve


def worth(reached: Mapping[str, float], objective: Objective) -> float:
    """Return what normalised performances come to under an objective."""
    return min(reached.values()) if objective == "worst_task" else sum(reached.values()) / len(reached)
