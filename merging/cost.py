"""What a merge method asks for beside the checkpoints, and what it costs."""

from dataclasses import dataclass
from typing import Literal

Need = Literal["validation inputs", "labels", "gradients"]
"""Inputs without their answers, the answers, or backward passes through a model."""


@dataclass(frozen=True)
class Cost:
    """A method's declared cost, under its default settings.

    Attributes:
        needs: what it uses beside the checkpoints; empty for a method without data.
        passes: how often the experts' weights are read, the merge included.
        runs: which models are run on what before the merge; empty where none is.
        held: what of the weights, and of what it measures, is in memory at a time.
    """

    needs: tuple[Need, ...] = ()
    passes: int = 1
    runs: str = ""
    held: str = "some blocks of every expert"

    @property
    def needed(self) -> str:
        """What it needs, in words."""
        return ", ".join(self.needs) or "nothing"

    def __str__(self) -> str:
        readings = "once" if self.passes == 1 else f"{self.passes} times"
        runs = f" Runs {self.runs}." if self.runs else ""
        return f"Needs {self.needed}. Reads the experts {readings}. Holds {self.held}.{runs}"
