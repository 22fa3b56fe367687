"""What signals say of some models: losses, divergences, cosines, and how divergence goes with performance."""

from collections.abc import Mapping, Sequence
from itertools import product
from math import isnan
from pathlib import Path
from statistics import fmean
from typing import Any

from pydantic import ConfigDict, computed_field

from results.errors import InputError
from results.reading import read_json
from results.record import Name, Number
from results.validation import Settings, Several, validated

KINDS: Mapping[str, str] = {"kl": "KL", "js": "JS"}
"""The divergences, by the name that reports keep them under."""


class SignalReport(Settings):
    """Signals of a base and its experts on the tasks' validation data."""

    model_config = ConfigDict(extra="ignore")  # what is computed is written, too

    tasks: Several[Name]
    """Each has an expert of its name."""
    models: Several[Name]
    """Names of the models: `base`, and the experts."""
    losses: dict[Name, dict[Name, Number]]
    """Mean loss by model and task."""
    divergences: dict[Name, dict[Name, dict[Name, Number]]]
    """By kind (`kl`, `js`), expert i and model j: D_{X_i}(θ_i‖θ_j)."""
    cosines: dict[Name, dict[Name, Number]]
    """Cosine similarity of task vectors, by expert and expert."""
    scores: dict[Name, dict[Name, Number | None]]
    """Score on the test rows by model and task, where there are records."""
    inputs: dict[Name, int]
    """Number of inputs of each task that divergences are a mean over."""
    bounds: bool
    """Whether divergences are bounds from below, of the likeliest tokens only."""
    documents: dict[Name, int] = {}
    """Number of test rows of each task that the scores rest on, where there are records."""

    def model_post_init(self, context: Any) -> None:
        """Refuse a report that lacks a loss or a divergence."""
        for model, task in product(("base", *self.tasks), self.tasks):
            if task not in self.losses.get(model, {}):
                raise ValueError(f"losses.{model}.{task} is missing")
            for kind, divergences in self.divergences.items():
                if model not in divergences.get(task, {}):
                    raise ValueError(f"divergences.{kind}.{task}.{model} is missing")

    @computed_field  # type: ignore[prop-decorator]
    @property
    def gaps(self) -> dict[str, float]:
        """The loss gap of each task, L(base) − L(expert)."""
        return {task: self.losses["base"][task] - self.losses[task][task] for task in self.tasks}

    @computed_field  # type: ignore[prop-decorator]
    @property
    def spearman(self) -> dict[str, dict[str, float | None]]:
        """By kind of divergence and task Spearman's ρ over the experts θ_j, the task's own among them.

        It is between −D_{X_i}(θ_i‖θ_j) and θ_j's score on i (DivMerge, Table 2); None where a score is not
        known, or all are equal.
        """
        return {kind: {task: self._rho(kind, task) for task in self.tasks} for kind in self.divergences}

    def _rho(self, kind: str, task: str) -> float | None:
        scores = [self.scores.get(model, {}).get(task) for model in self.tasks]
        nearness = [-self.divergences[kind][task][model] for model in self.tasks]
        known_scores = [score for score in scores if score is not None]
        return spearman(nearness, known_scores) if len(known_scores) == len(scores) else None


def read_signals(path: Path) -> SignalReport:
    """Read the report that `manyshot signals --out` left.

    Raises:
        InputError: the file is not there, or is no such report.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file; `manyshot signals --out FOLDER` writes signals.json")
    advice = "give the signals.json of `manyshot signals --out`"
    return validated(SignalReport, read_json(path, advice), str(path), advice)


def spearman(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Return Spearman's ρ, with mean ranks for ties; None for less than two pairs, or where all are equal."""
    if len(first) < 2 or len(set(first)) < 2 or len(set(second)) < 2:
        return None
    from scipy.stats import spearmanr

    rho = float(spearmanr(first, second).statistic)
    return None if isnan(rho) else rho


def mean_of_known(values: Mapping[str, float | None]) -> float | None:
    """Return the mean of the values that are not None; None where there is none."""
    known = [value for value in values.values() if value is not None]
    return fmean(known) if known else None
