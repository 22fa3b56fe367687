"""What a search makes large: the average, the worst task, a task, or a mix of them, on validation data.

A mix Σ w_k s_k with weights ≥ 0 is the least over tasks of w_worst NP_t + (all else), since what is added to
the worst task is the same for every t. So its interval is that of a least number, as in `results.minima`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from results.errors import InputError
from results.intervals import Draws, least_of
from results.metrics import Performance
from results.suite import AGGREGATES

_NAMED = AGGREGATES[:2]


@dataclass(frozen=True)
class Objective:
    """An objective; more is better.

    Attributes:
        weights: of `average`, `worst_task` and tasks by name, above 0.
    """

    weights: Mapping[str, float]

    @property
    def title(self) -> str:
        """What it is called: its statistic, or the mix."""
        if list(self.weights.values()) == [1.0]:
            return next(iter(self.weights))
        return " + ".join(f"{weight:g} {name}" for name, weight in self.weights.items())

    def parts(self, performance: Performance) -> Draws:
        """What it is the least of in every resample, shape (parts, resamples)."""
        total = np.zeros((1, performance.average.shape[0]))
        for name, weight in self.weights.items():
            total = total + weight * performance.parts(name)
        return total

    def value(self, performance: Performance) -> float:
        """Its value, of a performance that was measured."""
        return float(least_of(self.parts(performance))[0])


def objective_of(given: str | Mapping[str, float], tasks: Sequence[str]) -> Objective:
    """Return the objective that a file names, or mixes.

    Raises:
        InputError: there is none of this name, or a weight is not above 0.
    """
    weights = {given: 1.0} if isinstance(given, str) else dict(given)
    known = (*_NAMED, *tasks)
    for name, weight in weights.items():
        if name not in known:
            raise InputError(
                f"There is no objective '{name}'; there are {', '.join(known)}, and mixes of them."
            )
        if weight <= 0:
            raise InputError(f"The objective has a weight of {weight:g} for '{name}'; give numbers above 0.")
    if not weights:
        raise InputError(f"The objective is empty; name one of {', '.join(known)}, or a mix of them.")
    return Objective(weights)
