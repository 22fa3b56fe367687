"""Which tensors are merged with which settings: one group for each that differ.

What a method finds in first passes it finds within a group, so a method that decides over the whole model has
the same settings for all tensors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from merging.arithmetic import shares_of
from merging.checkpoints.when_used import torch
from merging.known_methods import find_method, make_method
from merging.layers import LayerPosition
from merging.method import Method
from merging.recipe import Recipe
from merging.varying import is_varying, reader
from results.errors import InputError
from results.json_values import cache_key


@dataclass(frozen=True)
class Group:
    """Tensors that are merged alike.

    Attributes:
        method: with their settings.
        weights: of the experts, float32, (n_tasks,).
        names: of the tensors, sorted.
    """

    method: Method
    weights: np.ndarray
    names: tuple[str, ...]

    def weights_on(self, device: torch.device) -> torch.Tensor:
        """Return the weights for a method's own call, on a device."""
        return torch.from_numpy(self.weights).to(device)


def settings_groups(
    recipe: Recipe, names: Sequence[str], positions: Mapping[str, LayerPosition]
) -> tuple[Group, ...]:
    """Return the groups of some tensors, one where nothing differs; there is always one.

    Args:
        recipe: with settings and weights.
        names: of the tensors, sorted.
        positions: of every tensor.

    Raises:
        InputError: a method or setting is not in order, a tensor has no value, or the method decides over the
            whole model and the settings differ.
    """
    name, settings = recipe.method.name, recipe.method.settings
    varying = _varying(name, settings)
    given = {task: spec.weight for task, spec in sorted(recipe.experts.items())}
    varying_weights = any(is_varying(weight) for weight in given.values())
    if not varying and not varying_weights:
        return (Group(make_method(name, settings), _array(given, recipe), tuple(names)),)
    depth = max((position.depth for position in positions.values()), default=0)
    read_settings = {key: reader(settings[key], f"method.{key}", depth) for key in sorted(varying)}
    read_weights = {task: reader(weight, f"experts.{task}.weight", depth) for task, weight in given.items()}
    alike: dict[str, tuple[dict[str, Any], dict[str, float], list[str]]] = {}
    for tensor in names:
        position = positions[tensor]
        own = settings | {key: read(tensor, position) for key, read in read_settings.items()}
        weights = {task: _number(read(tensor, position), task) for task, read in read_weights.items()}
        alike.setdefault(cache_key([own, weights]), (own, weights, []))[2].append(tensor)
    groups = tuple(
        Group(make_method(name, own), _array(weights, recipe), tuple(tensors))
        for own, weights, tensors in alike.values()
    )
    if len(groups) > 1 and any(group.method.decides_over_model for group in groups):
        raise InputError(
            f"Method {name!r} decides over the whole model, so its settings and the experts' weights must be "
            "the same for all tensors; where it has a setting `scope` or `within`, `scope: tensor` or "
            "`within: tensor` lets them differ."
        )
    return groups


def _varying(name: str, settings: Mapping[str, Any]) -> set[str]:
    """Return the settings that are given for tensors apart: lists where the method itself takes none."""
    fields = find_method(name).method_class.model_fields
    return {
        key
        for key, value in settings.items()
        if key in fields
        and (is_varying(value) or (isinstance(value, Mapping) and any(map(is_varying, value.values()))))
        and not _takes(fields[key], value)
    }


def _takes(field: Any, value: object) -> bool:
    try:
        TypeAdapter(field.annotation).validate_python(value, strict=True)
    except ValidationError:
        return False
    return True


def _number(value: object, task: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"The setting 'experts.{task}.weight' is {value!r}, where a number is expected.")
    return float(value)


def _array(weights: Mapping[str, Any], recipe: Recipe) -> np.ndarray:
    values = np.array(list(weights.values()), dtype=np.float32)
    return (
        shares_of(values, f"{recipe.method.name!r} with 'normalize_weights'")
        if recipe.normalize_weights
        else values
    )
