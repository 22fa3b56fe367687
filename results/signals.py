"""What signals say of some models: losses, divergences, cosines, and how divergence goes with performance."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from math import isnan
from pathlib import Path
from statistics import fmean
from typing import Any

from results.errors import InputError

KINDS: Mapping[str, str] = {"kl": "KL", "js": "JS"}
"""The divergences, by the name that reports keep them under."""


@dataclass(frozen=True)
class SignalReport:
    """Signals of a base and its experts on the tasks' validation data.

    Attributes:
        tasks: names of the tasks, each with an expert of that name.
        models: names of the models: `base`, and the experts.
        losses: by model and task.
        divergences: by kind (`kl`, `js`), expert i and model j: D_{X_i}(θ_i‖θ_j).
        cosines: of the task vectors, by expert and expert.
        scores: by model and task, of the test rows, where there are records.
        inputs: by task, how many inputs the divergences are a mean over.
        bounds: whether divergences are bounds from below, of the likeliest tokens only.
        documents: by task, how many test rows the scores rest on, where there are records.
    """

    tasks: Sequence[str]
    models: Sequence[str]
    losses: Mapping[str, Mapping[str, float]]
    divergences: Mapping[str, Mapping[str, Mapping[str, float]]]
    cosines: Mapping[str, Mapping[str, float]]
    scores: Mapping[str, Mapping[str, float | None]]
    inputs: Mapping[str, int]
    bounds: bool
    documents: Mapping[str, int] = field(default_factory=dict)

    @property
    def gaps(self) -> dict[str, float]:
        """Of each task L(base) − L(expert)."""
        return {task: self.losses["base"][task] - self.losses[task][task] for task in self.tasks}

    def correlations(self, kind: str) -> dict[str, float | None]:
        """Of each task Spearman's ρ over the experts θ_j, its own among them.

        It is between −D_{X_i}(θ_i‖θ_j) and θ_j's score on i (DivMerge, Table 2); None where a score is not
        known, or all are equal.
        """
        found: dict[str, float | None] = {}
        for task in self.tasks:
            scores = [self.scores.get(model, {}).get(task) for model in self.tasks]
            nearness = [-self.divergences[kind][task][model] for model in self.tasks]
            known = [score for score in scores if score is not None]
            found[task] = spearman(nearness, known) if len(known) == len(scores) else None
        return found

    def to_json(self) -> dict[str, Any]:
        """The report as a JSON value."""
        correlations = {kind: self.correlations(kind) for kind in self.divergences}
        return {
            "tasks": list(self.tasks),
            "models": list(self.models),
            "losses": {model: dict(row) for model, row in self.losses.items()},
            "gaps": self.gaps,
            "divergences": {
                kind: {task: dict(row) for task, row in matrix.items()}
                for kind, matrix in self.divergences.items()
            },
            "cosines": {task: dict(row) for task, row in self.cosines.items()},
            "scores": {model: dict(row) for model, row in self.scores.items()},
            "spearman": correlations,
            "inputs": dict(self.inputs),
            "bounds": self.bounds,
            "documents": dict(self.documents),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "SignalReport":
        """The report that `to_json` described."""
        names = {one.name for one in fields(cls)}
        found = cls(**{name: content for name, content in value.items() if name in names})
        for kind in found.divergences:
            found.correlations(kind)  # which reads all that must be there
        return found


def read_signals(path: Path) -> SignalReport:
    """Read the report that `manyshot signals --out` left.

    Raises:
        InputError: the file is not there, or is no such report.
    """
    try:
        return SignalReport.from_json(json.loads(path.read_bytes()))
    except FileNotFoundError:
        raise InputError(
            f"{path}: no such file; `manyshot signals --out FOLDER` writes signals.json"
        ) from None
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        raise InputError(f"{path}: not the signals.json of `manyshot signals --out`") from None


def spearman(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Return Spearman's ρ, with mean ranks for ties; None for less than two pairs, or where all are equal."""
    if len(one) < 2 or len(set(one)) < 2 or len(set(other)) < 2:
        return None
    from scipy.stats import spearmanr

    rho = float(spearmanr(one, other).statistic)
    return None if isnan(rho) else rho


def mean_known(values: Mapping[str, float | None]) -> float | None:
    """Return the mean of those that are known; None where none is."""
    known = [value for value in values.values() if value is not None]
    return fmean(known) if known else None
