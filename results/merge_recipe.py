"""The recipe of a merged checkpoint, as far as the manifest of its run says what it was."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from pydantic import JsonValue

from results.errors import InputError
from results.merge_trace import LearnedCoefficients, MergeOptions, MergeTrace
from results.run_manifest import Entry

_OF_ROUNDS = ("weighting", "anchor", "keep")
_OF_MERGES = ("seed", "space", "output_dtype", "accept_differences")
_WHOLE = "model"
"""The only layer where a coefficient is one for each task."""


def recipe_of(
    merged: Entry, base: Entry | None, experts: Mapping[str, Entry], rounds: int = 0
) -> dict[str, JsonValue]:
    """What `manyshot merge` takes, for a checkpoint that was merged once; else what is known of the rounds.

    Args:
        merged: the merged checkpoint.
        base: of the run, where it is known.
        experts: by task, the standalone ones of its seed. In rounds others were trained, from merged models.
        rounds: how many there were; 0 where it was merged once.

    Raises:
        InputError: what the run says of the merge is not as a run writes it.
    """
    try:
        return _recipe(merged, base, experts, rounds)
    except (KeyError, ValueError, IndexError):
        raise InputError(
            f"'{merged.label}': what its run says of the merge cannot be read; run it again, or ask for "
            "another submission"
        ) from None


def _recipe(
    merged: Entry, base: Entry | None, experts: Mapping[str, Entry], rounds: int
) -> dict[str, JsonValue]:
    trace, recorded = merged.trace or MergeTrace(), merged.recipe or MergeOptions()
    given: Any = recorded.model_dump(mode="json", exclude_defaults=True)
    # In rounds each has its own, of what the experiment says.
    settings: dict[str, Any] = dict(merged.settings if rounds else trace.settings or merged.settings)
    recipe: dict[str, JsonValue] = {"base": base.path} if base is not None else {}
    if rounds:
        recipe |= {"protocol": merged.protocol, "rounds": rounds}
        recipe |= {name: given[name] for name in _OF_ROUNDS if name in given}
    else:
        recipe["experts"] = {task: _expert(one, task, trace.weights) for task, one in experts.items()}
        if trace.learned:
            settings.setdefault("coefficients", _coefficients(trace.learned))
    recipe["method"] = {"name": _method(merged, recorded), **settings}
    seed = {} if merged.seed is None else {"seed": merged.seed}
    return {**recipe, **seed, **{name: given[name] for name in _OF_MERGES if name in given}}


def _method(merged: Entry, recorded: MergeOptions) -> str | None:
    """As `manyshot merge` takes it: of a method of the user's own the file, looked for beside the recipe."""
    if not recorded.source:
        return merged.method
    return f"./{PurePosixPath(recorded.method or f'{merged.method}.py:{merged.method}').name}"


def _expert(expert: Entry, task: str, weights: Mapping[str, float]) -> JsonValue:
    """Its path, with a weight where tasks have different ones: 1 on average, and in a run 1 together."""
    if len(set(weights.values())) < 2:
        return expert.path
    return {"path": expert.path, "weight": weights[task] * len(weights)}


def _coefficients(learned: LearnedCoefficients) -> dict[str, Any]:
    """Coefficients that were learned: a number for each task, or one for each of its layers."""
    return {
        task: row[0] if learned.layers == (_WHOLE,) else dict(zip(learned.layers, row, strict=True))
        for task, row in zip(learned.tasks, learned.coefficients, strict=True)
    }
