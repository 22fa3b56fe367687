"""Merged methods over their seeds: means, both kinds of intervals, and what differences are taken from."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from results.bootstrap import Draws, Interval, percentile_interval
from results.comparison import Comparison, Row
from results.student import student_interval

AGGREGATES = ("average", "worst_task", "gap", "anp")


@dataclass(frozen=True)
class Pooled:
    """A mean over seeds; without a value where a seed has none.

    Attributes:
        values: one for each seed.
        draws: the mean over seeds in every resample of the documents.
    """

    values: tuple[float, ...]
    draws: Draws

    @property
    def value(self) -> float | None:
        """The mean."""
        return fmean(self.values) if self.values else None

    @property
    def documents(self) -> Interval | None:
        """95 % interval over documents, by the bootstrap, which draws the same for every seed."""
        return percentile_interval(self.draws) if self.values else None

    @property
    def seeds(self) -> Interval | None:
        """95 % interval over seeds by Student's t; None where there is one seed."""
        return student_interval(self.values)


@dataclass(frozen=True)
class Merged:
    """A merged method under one protocol, all its seeds."""

    title: str
    protocol: str
    rows: tuple[Row, ...]

    @property
    def method(self) -> str:
        """The method's name."""
        return self.rows[0].method or ""

    def aggregate(self, name: str) -> Pooled:
        """One of `AGGREGATES`."""
        return pooled([(getattr(row, name).value, getattr(row.resampled, name)) for row in self.rows])

    def task(self, name: str) -> Pooled:
        """Normalised performance on a task."""
        return pooled([(row.tasks[name].value, row.resampled.tasks.get(name)) for row in self.rows])

    def score(self, benchmark: str) -> Pooled:
        """The score on a benchmark, as the benchmark reports it."""
        return pooled([(row.scores.get(benchmark), row.resampled.scores.get(benchmark)) for row in self.rows])


def merged_methods(comparison: Comparison) -> list[Merged]:
    """Return the merged methods in the order of the run."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in comparison.rows:
        if row.role == "merged":
            found.setdefault((row.title or row.label, row.protocol or ""), []).append(row)
    return [Merged(*key, tuple(rows)) for key, rows in found.items()]


def pooled(each: Sequence[tuple[float | None, Draws | None]]) -> Pooled:
    """Pool the values and resamples of some seeds."""
    values = [value for value, _ in each if value is not None]
    draws = [drawn for _, drawn in each if drawn is not None]
    if not values or len(values) < len(each):
        return Pooled((), np.array([]))
    return Pooled(tuple(values), np.mean(draws, axis=0) if len(draws) == len(each) else np.array([]))
