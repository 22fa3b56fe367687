"""Methods that use what is measured of the experts on validation inputs before the merge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from merging.checkpoints.when_used import torch
from merging.known_methods import name_of
from merging.measured import EVERYWHERE, Measured, MeasuredKind
from merging.method import Method
from merging.signals import ContinuationSettings
from results.errors import InputError


class MeasuredMethod(Method):
    """What is measured is measured on validation inputs, each with the expert's own greedy answer behind it.

    One text is read at a time, so that there is no padding. Answers of the data are never looked at.
    """

    inputs: int = Field(256, ge=1)
    """Validation inputs of each task."""
    max_new_tokens: int = Field(32, ge=1)
    """Most tokens of the expert's answer to an input."""
    measured: str | None = None
    """Folder of what was measured; null has it measured in an experiment."""

    measures: ClassVar[MeasuredKind]

    @property
    def continuations(self) -> ContinuationSettings:
        """What experts continue. Of their distributions next to nothing is kept."""
        return ContinuationSettings(inputs=self.inputs, max_new_tokens=self.max_new_tokens, top_k=1)

    def decides(self, weights: Mapping[str, float]) -> Any:
        """Return a JSON value of what else than the texts and the experts decides what is measured.

        Args:
            weights: of the experts, by task.
        """
        return [self.measures]

    @cached_property
    def found(self) -> Measured:
        """What was measured.

        Raises:
            InputError: it was not, or the folder does not hold it.
        """
        if self.measured is None:
            raise InputError(
                f"Method {name_of(self)!r} uses what is measured of the experts on validation inputs: name "
                "it in an experiment for `manyshot run`, or give `measured` here, the folder of what one "
                "measured."
            )
        return Measured.open(Path(self.measured), self.measures)

    def check(self, tasks: Sequence[str]) -> None:
        """Refuse measurements that are not of these tasks, before weights are read.

        Raises:
            InputError: names a task of which there is nothing.
        """
        of = self.found.index.tasks
        if EVERYWHERE not in of and (missing := [task for task in tasks if task not in of]):
            raise InputError(
                f"{self.measured} has no measurements of {', '.join(missing)}; it has those of "
                f"{', '.join(of)}."
            )


def relative(weights: torch.Tensor) -> torch.Tensor:
    """Return weights that add up to 1.

    Raises:
        InputError: one is negative, by which nothing would be least, or they add up to nothing.
    """
    total = weights.sum()
    if not total > 0 or bool((weights < 0).any()):
        raise InputError(
            "Methods that measure the experts need weights of 0 or more, not all of them 0; change a weight."
        )
    return weights / total
