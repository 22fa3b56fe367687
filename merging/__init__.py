"""Merging: checkpoints, task vectors, methods, and the training of experts.

The names below are imported when first used, so that `import merging` stays light. The function that
merges is `merging.merge.merge`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from merging.checkpoints.checkpoint import Checkpoint
    from merging.known_methods import known_methods, register
    from merging.method import Context, FirstPass, MergedBlock, Method, Scope
    from merging.recipe import Recipe
    from merging.recipe_file import load_recipe

__all__ = [
    "Checkpoint",
    "Context",
    "FirstPass",
    "MergedBlock",
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
    "MergedBlock": "merging.method",
    "Method": "merging.method",
    "Recipe": "merging.recipe",
    "Scope": "merging.method",
    "known_methods": "merging.known_methods",
    "load_recipe": "merging.recipe_file",
    "register": "merging.known_methods",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'merging' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
