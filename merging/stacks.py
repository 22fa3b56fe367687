"""Checkpoints stacked from blocks of others, in a merge: whether their parts have the same settings."""

from collections.abc import Iterable

from merging.checkpoints.checkpoint import Checkpoint
from merging.checkpoints.stacked import StackedCheckpoint
from merging.differences import compare_settings, notices
from merging.merged_template import without_notice
from merging.recipe import Recipe


def stack_notices(checkpoints: Iterable[Checkpoint], recipe: Recipe) -> list[str]:
    """Return notices of what parts of a stack have that the first part's settings and tokenizer have not.

    Raises:
        InputError: two parts have settings by which they compute differently.
    """
    found: list[str] = []
    for checkpoint in checkpoints:
        if isinstance(checkpoint, StackedCheckpoint) and len(checkpoint.sources) > 1:
            first, *others = checkpoint.views().items()
            found += notices(without_notice(compare_settings(first[1], dict(others)), recipe))
    return list(dict.fromkeys(found))
