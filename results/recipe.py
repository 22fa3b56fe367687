"""The recipe of a merged checkpoint, as far as the manifest of its run says what it was."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from results.comparison import Row
from results.errors import InputError
from results.record import JSON
from results.run import Entry

_OF_ROUNDS = ("weighting", "anchor", "keep")
_OF_MERGES = ("seed", "space", "output_dtype", "accept_differences")
_WHOLE = "model"
"""The only layer where a coefficient is one for each task."""


def recipe_of(row: Row, base: Entry | None, experts: Mapping[str, Entry], rounds: int = 0) -> dict[str, JSON]:
    """What `manyshot merge` takes, for a checkpoint that was merged once; else what is known of the rounds.

    Args:
        row: the merged checkpoint.
        base: of the run, where it is known.
        experts: by task, the standalone ones of its seed. In rounds others were trained, from merged models.
        rounds: how many there were; 0 where it was merged once.

    Raises:
        InputError: what the run says of the merge is not as a run writes it.
    """
    try:
        return _recipe(row, base, experts, rounds)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise InputError(
            f"'{row.label}': what its run says of the merge cannot be read; run it again, or ask for another "
            "submission"
        ) from None


def _recipe(row: Row, base: Entry | None, experts: Mapping[str, Entry], rounds: int) -> dict[str, JSON]:
    measured: Mapping[str, Any] = row.measured
    recorded: Mapping[str, Any] = measured.get("recipe") or {}
    # In rounds each has its own, of what the experiment says.
    settings = dict(row.settings if rounds else measured.get("settings") or row.settings)
    recipe: dict[str, JSON] = {"base": base.path} if base is not None else {}
    if rounds:
        recipe |= {"protocol": row.protocol, "rounds": rounds, **_recorded(recorded, _OF_ROUNDS)}
    else:
        weights = measured.get("weights") or {}
        recipe["experts"] = {task: _expert(one, task, weights) for task, one in experts.items()}
        learned = measured.get("learned")
        if learned:
            settings.setdefault("coefficients", _coefficients(learned))
    recipe["method"] = {"name": _method(row, recorded), **settings}
    seed = {} if row.seed is None else {"seed": row.seed}
    return {**recipe, **seed, **_recorded(recorded, _OF_MERGES)}


def _recorded(recorded: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, JSON]:
    return {name: recorded[name] for name in names if recorded.get(name) is not None}


def _method(row: Row, recorded: Mapping[str, Any]) -> str | None:
    """As `manyshot merge` takes it: of a method of the user's own the file, looked for beside the recipe."""
    if not row.measured.get("source"):
        return row.method
    return f"./{PurePosixPath(recorded.get('method', f'{row.method}.py:{row.method}')).name}"


def _expert(expert: Entry, task: str, weights: Mapping[str, float]) -> JSON:
    """Its path, with a weight where tasks have different ones: 1 on average, and in a run 1 together."""
    if len(set(weights.values())) < 2:
        return expert.path
    return {"path": expert.path, "weight": weights[task] * len(weights)}


def _coefficients(learned: Mapping[str, Any]) -> dict[str, JSON]:
    """Coefficients that were learned: a number for each task, or one for each of its layers."""
    layers = learned["layers"]
    return {
        task: row[0] if layers == [_WHOLE] else dict(zip(layers, row, strict=True))
        for task, row in zip(learned["tasks"], learned["coefficients"], strict=True)
    }
