"""Merged methods over their seeds: means, both kinds of intervals, and what differences are taken from."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from results.bootstrap import Draws, Interval
from results.comparison import Comparison, Row
from results.minima import Term, mean_interval
from results.student import student_interval


@dataclass(frozen=True)
class Pooled:
    """A mean over seeds; without a value where a seed has none.

    Attributes:
        values: one for each seed.
        seeds_of: the seeds, in the same order.
        terms: of each seed, what its value is the least of in every resample of the documents, which are the
            same for all seeds; none where a seed has no resamples.
    """

    values: tuple[float, ...]
    seeds_of: tuple[int | None, ...] = ()
    terms: tuple[Term, ...] = ()

    @property
    def value(self) -> float | None:
        """The mean."""
        return fmean(self.values) if self.values else None

    @property
    def by_seed(self) -> dict[int | None, float]:
        """The value of each seed."""
        return dict(zip(self.seeds_of, self.values, strict=True))

    @property
    def documents(self) -> Interval | None:
        """95 % interval over documents, by the bootstrap."""
        return mean_interval(self.terms) if self.terms else None

    @property
    def seeds(self) -> Interval | None:
        """95 % interval over seeds by Student's t; None where there is one seed."""
        return student_interval(self.values)

    @property
    def draws(self) -> Draws | None:
        """The mean over seeds in every resample; None without resamples."""
        if not self.terms:
            return None
        least = [_least(one) - (0.0 if other is None else _least(other)) for one, other in self.terms]
        mean: Draws = np.mean(least, axis=0)
        return mean


@dataclass(frozen=True)
class Merged:
    """A merged method under one protocol, all its seeds."""

    title: str
    protocol: str
    rows: tuple[Row, ...]

    @property
    def seeds(self) -> list[int | None]:
        """One for each row."""
        return [row.seed for row in self.rows]

    @property
    def method(self) -> str:
        """The method's name."""
        return self.rows[0].method or ""

    def aggregate(self, name: str) -> Pooled:
        """The average, worst_task, gap or anp."""
        each = [(getattr(row, name).value, (row.resampled.parts(name), None)) for row in self.rows]
        return pooled(each, self.seeds)

    def task(self, name: str) -> Pooled:
        """Normalised performance on a task."""
        each = [(row.tasks[name].value, row.resampled.tasks.get(name)) for row in self.rows]
        return pooled_draws(each, self.seeds)

    def statistic(self, name: str) -> Pooled:
        """Normalised performance on the task of this name, or the aggregate."""
        return self.task(name) if name in self.rows[0].tasks else self.aggregate(name)

    def score(self, benchmark: str) -> Pooled:
        """The score on a benchmark, as the benchmark reports it."""
        return pooled_scores(self.rows, benchmark)


def merged_methods(comparison: Comparison) -> list[Merged]:
    """Return the merged methods in the order of the run."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in comparison.rows:
        if row.role == "merged":
            found.setdefault((row.title or row.label, row.protocol or ""), []).append(row)
    return [Merged(*key, tuple(rows)) for key, rows in found.items()]


def pooled(
    each: Sequence[tuple[float | None, Term | None]], seeds: Sequence[int | None] | None = None
) -> Pooled:
    """Pool the values and resamples of some seeds, which are counted from 0 where they are not given."""
    values = [value for value, _ in each if value is not None]
    terms = [term for _, term in each if term is not None and term[0].size]
    if not values or len(values) < len(each):
        return Pooled(())
    known = tuple(range(len(values)) if seeds is None else seeds)
    return Pooled(tuple(values), known, tuple(terms) if len(terms) == len(each) else ())


def pooled_draws(
    each: Sequence[tuple[float | None, Draws | None]], seeds: Sequence[int | None] | None = None
) -> Pooled:
    """Pool values that are no minimum of others, and their resamples of shape (resamples,)."""
    return pooled([(value, None if draws is None else (draws, None)) for value, draws in each], seeds)


def pooled_difference(pairs: Sequence[tuple[Row, Row]], statistic: str) -> Pooled:
    """Pool the paired differences of two checkpoints of each seed, in the average, worst_task, gap or anp."""
    each: list[tuple[float | None, Term | None]] = []
    for row, other in pairs:
        one, two = getattr(row, statistic).value, getattr(other, statistic).value
        known = one is not None and two is not None
        parts = row.resampled.parts(statistic), other.resampled.parts(statistic)
        each.append((one - two if known else None, parts))
    return pooled(each, [row.seed for row, _ in pairs])


def pooled_scores(rows: Sequence[Row], benchmark: str) -> Pooled:
    """Pool the scores of some checkpoints on a benchmark."""
    each = [(row.scores.get(benchmark), row.resampled.scores.get(benchmark)) for row in rows]
    return pooled_draws(each, [row.seed for row in rows])


def _least(parts: Draws) -> Draws:
    least: Draws = np.atleast_2d(parts).min(axis=0)
    return least
