"""Whether a consensus mask can hold an entry on which all tasks agree, by the weights alone.

With |α_t τ_t| ≥ δ |V − α_t τ_t| as the test, an entry that is the same number in all task vectors is in task
t's mask only where α_t ≥ δ/(1 + δ), or is above that where the test is >. Where fewer than k tasks weigh as
much, every such entry goes back to the base, however much all tasks agree on it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_ROUNDING = 1e-6
"""Weights and entries are float32."""


@dataclass(frozen=True)
class MaskReach:
    """Which tasks' weights are large enough for the mask to hold what all tasks agree on.

    Attributes:
        needed: k, how many tasks' masks must hold an entry.
        weights: α_t by task, which add up to 1.
        thresholds: the weight at which both sides of a task's test are equal for an entry that all agree on.
        strict: whether the test is >, which equal sides fail.
    """

    needed: int
    weights: Mapping[str, float]
    thresholds: Mapping[str, float]
    strict: bool

    @classmethod
    def of(
        cls, needed: int, weights: Mapping[str, float], ratios: Mapping[str, float], *, strict: bool
    ) -> "MaskReach":
        """Return it for weights of any sum and the masks' ratios δ_t, both by task."""
        total = sum(weights.values())
        shares = {task: weight / total for task, weight in weights.items()}
        return cls(needed, shares, {task: ratio / (1 + ratio) for task, ratio in ratios.items()}, strict)

    @property
    def reaching(self) -> list[str]:
        """The tasks whose weight is large enough; where sides are equal to rounding, those of a test by ≥."""
        edge = 1 + _ROUNDING if self.strict else 1 - _ROUNDING
        return [task for task, weight in self.weights.items() if weight >= edge * self.thresholds[task]]

    @property
    def is_short(self) -> bool:
        """Whether nothing that all tasks agree on is kept."""
        return len(self.reaching) < self.needed

    def to_json(self) -> dict[str, Any]:
        """Return what `merge.json` says of it."""
        return {
            "needed": self.needed,
            "weights": dict(self.weights),
            "thresholds": dict(self.thresholds),
            "reaching": self.reaching,
        }

    def notice(self, kept_norm: float | None) -> str:
        """Return what to say where `is_short`, with the share of the weighted sum's norm that was kept."""
        each = sorted(set(self.thresholds.values()))
        least = " to ".join(dict.fromkeys(f"{value:.3f}" for value in (each[0], each[-1])))
        weights = ", ".join(f"{task} {weight:.3f}" for task, weight in self.weights.items())
        kept = "nothing" if kept_norm is None else f"{kept_norm:.3f} of the norm of the weighted sum"
        return (
            "the mask drops every entry on which all tasks agree: "
            f"{self.needed} tasks need a weight {'above' if self.strict else 'of at least'} {least}, "
            f"and {len(self.reaching)} of {len(self.weights)} have it ({weights}); it kept {kept}"
        )
