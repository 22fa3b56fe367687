"""The recipe of a merged checkpoint, as far as the manifest of its run says what it was."""

from collections.abc import Mapping
from typing import Any

from results.comparison import Row
from results.errors import InputError
from results.record import JSON
from results.run import Entry

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
    settings = dict(measured.get("settings") or row.settings)
    recipe: dict[str, JSON] = {"base": base.path} if base is not None else {}
    if rounds:
        recipe |= {"protocol": row.protocol, "rounds": rounds}
    else:
        weights = measured.get("weights") or {}
        recipe["experts"] = {task: _expert(one, task, weights) for task, one in experts.items()}
        learned = measured.get("learned")
        if learned:
            settings.setdefault("coefficients", _coefficients(learned))
    recipe["method"] = {"name": row.method, **settings}
    return recipe if row.seed is None else {**recipe, "seed": row.seed}


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
