"""Merging: checkpoints, task vectors, methods, and the training of experts.

The names below are imported when first used, so that `import merging` stays light. The function that
merges is `merging.merge.merge`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from merging.checkpoints.checkpoint import Checkpoint
    from merging.method import Context, FirstPass, Method, Scope, known_methods, register
    from merging.recipe import Recipe, load_recipe

__all__ = [
    "Checkpoint",
    "Context",
    "FirstPass",
    "Method",
    "Recipe",
    "Scope",
    "known_methods",
    "load_recipe",
    "register",
]

_HOMES = {
    "Checkpoint": "merging.checkpoints.checkpoint",
    "Context": "merging.method",
    "FirstPass": "merging.method",
    "Method": "merging.method",
    "Recipe": "merging.recipe",
    "Scope": "merging.method",
    "known_methods": "merging.method",
    "load_recipe": "merging.recipe",
    "register": "merging.method",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'merging' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
