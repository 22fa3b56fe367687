"""What a comparison says over seeds: means with intervals, and many-shot less post-hoc at equal budgets.

Two intervals are told apart: over seeds, by how much trainings differ on the documents that were scored; and
over documents, by how much the mean of just these trainings would differ on others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from results.bootstrap import Draws, Interval, percentile_interval
from results.comparison import Comparison, Estimate, Row
from results.student import student_interval

STATISTICS = ("average", "worst_task")


@dataclass(frozen=True)
class Spread:
    """A mean over seeds.

    Attributes:
        mean: over the seeds.
        n: their number.
        seeds: 95 % interval over seeds by Student's t; None where there is one seed.
        documents: 95 % interval over documents by the bootstrap, which draws the same for every seed.
    """

    mean: float
    n: int
    seeds: Interval | None
    documents: Interval | None


@dataclass(frozen=True)
class OverSeeds:
    """A method under one protocol: by statistic, its spread; None where a seed has no value."""

    method: str
    protocol: str
    spreads: dict[str, Spread | None]


@dataclass(frozen=True)
class Gain:
    """A method's many-shot less its post-hoc merge of the same seed, by statistic."""

    method: str
    spreads: dict[str, Spread | None]


def over_seeds(comparison: Comparison) -> list[OverSeeds]:
    """Return the spread of every method and protocol, in the order of the run."""
    return [
        OverSeeds(method, protocol, {name: spread(rows, name) for name in STATISTICS})
        for (method, protocol), rows in by_method(comparison).items()
    ]


def gains(comparison: Comparison) -> list[Gain]:
    """Return the paired differences of the methods that were merged in both ways."""
    groups = by_method(comparison)
    found = []
    for (method, protocol), rows in groups.items():
        once = [
            row
            for row in comparison.rows
            if row.protocol == "post-hoc" and row.pair is not None and row.pair == rows[0].pair
        ]
        if protocol != "many-shot" or not once:
            continue
        by_seed = {row.seed: row for row in once}
        pairs = [(row, by_seed[row.seed]) for row in rows if row.seed in by_seed]
        spreads = {name: _spread([_difference(*pair, name) for pair in pairs]) for name in STATISTICS}
        found.append(Gain(method, spreads))
    return found


def by_method(comparison: Comparison) -> dict[tuple[str, str], list[Row]]:
    """Return the merged checkpoints by title and protocol, one for each seed, in the order of the run."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in comparison.rows:
        if row.role == "merged":
            found.setdefault((row.title or row.label, row.protocol or ""), []).append(row)
    return found


def spread(rows: Sequence[Row], statistic: str) -> Spread | None:
    """Return the spread of one method's rows, one for each seed; None where a seed has no value.

    Args:
        rows: of the seeds.
        statistic: "average", "worst_task", "gap", "anp", or the name of a task.
    """
    return _spread([_of(row, statistic) for row in rows])


def _of(row: Row, statistic: str) -> tuple[float | None, Draws]:
    """A statistic's value, and what it is in every resample of the documents."""
    if statistic in row.tasks:
        value = row.tasks[statistic].value
        return value, row.resampled.tasks[statistic] if value is not None else np.array([])
    estimate: Estimate = getattr(row, statistic)
    draws: Draws = getattr(row.resampled, statistic)
    return estimate.value, draws


def _difference(row: Row, other: Row, statistic: str) -> tuple[float | None, Draws]:
    (one, drawn), (two, drawn_too) = _of(row, statistic), _of(other, statistic)
    return None if one is None or two is None else one - two, drawn - drawn_too


def _spread(values: Sequence[tuple[float | None, Draws]]) -> Spread | None:
    known = [value for value, _ in values if value is not None]
    if not known or len(known) < len(values):
        return None
    mean = fmean(known)
    documents = percentile_interval(np.mean([draws for _, draws in values], axis=0))
    return Spread(mean, len(known), student_interval(known), documents)
