"""Merged methods over their seeds: means, intervals, and many-shot less post-hoc at equal budgets.

Two intervals are told apart: over seeds, by how much trainings differ on the documents that were scored; and
over documents, by how much the mean of just these trainings would differ on others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

import numpy as np

from results.comparison import Comparison, ComparisonRow
from results.intervals import Draws, Interval, least_of, student_interval
from results.minima import Term, mean_interval
from results.suite import RANKED_BY


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

    @cached_property
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
        least = [
            least_of(parts) - (0.0 if subtracted is None else least_of(subtracted))
            for parts, subtracted in self.terms
        ]
        mean: Draws = np.mean(least, axis=0)
        return mean


@dataclass(frozen=True)
class MethodOverSeeds:
    """A merged method under one protocol, all its seeds."""

    rows: tuple[ComparisonRow, ...]

    @property
    def title(self) -> str:
        """How the rows of all its seeds are called together."""
        return self.rows[0].title

    @property
    def protocol(self) -> str:
        """Post-hoc or many-shot."""
        return self.rows[0].protocol

    @property
    def seeds(self) -> list[int | None]:
        """One for each row."""
        return [row.seed for row in self.rows]

    @property
    def method(self) -> str:
        """The method's name."""
        return self.rows[0].entry.method or ""

    def aggregate(self, name: str) -> Pooled:
        """The average, worst_task, gap or anp."""
        each = [(row.estimate(name).value, (row.resampled.parts(name), None)) for row in self.rows]
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


def merged_methods(comparison: Comparison) -> list[MethodOverSeeds]:
    """Return the merged methods in the order of the run."""
    by_method: dict[tuple[str, str], list[ComparisonRow]] = {}
    for row in comparison.rows:
        if row.role == "merged":
            by_method.setdefault((row.title, row.protocol), []).append(row)
    return [MethodOverSeeds(tuple(rows)) for rows in by_method.values()]


def pooled(
    each: Sequence[tuple[float | None, Term | None]], seeds: Sequence[int | None] | None = None
) -> Pooled:
    """Pool the values and resamples of some seeds, which are counted from 0 where they are not given."""
    values = [value for value, _ in each if value is not None]
    terms = [term for _, term in each if term is not None and term[0].size]
    if not values or len(values) < len(each):
        return Pooled(())
    numbered = tuple(range(len(values)) if seeds is None else seeds)
    return Pooled(tuple(values), numbered, tuple(terms) if len(terms) == len(each) else ())


def pooled_draws(
    each: Sequence[tuple[float | None, Draws | None]], seeds: Sequence[int | None] | None = None
) -> Pooled:
    """Pool values that are no minimum of others, and their resamples of shape (resamples,)."""
    return pooled([(value, None if draws is None else (draws, None)) for value, draws in each], seeds)


def pooled_difference(pairs: Sequence[tuple[ComparisonRow, ComparisonRow]], statistic: str) -> Pooled:
    """Pool the paired differences of two checkpoints of each seed, in the average, worst_task, gap or anp."""
    each: list[tuple[float | None, Term | None]] = []
    for row, other in pairs:
        first, second = row.estimate(statistic).value, other.estimate(statistic).value
        parts = row.resampled.parts(statistic), other.resampled.parts(statistic)
        each.append((None if first is None or second is None else first - second, parts))
    return pooled(each, [row.seed for row, _ in pairs])


def pooled_scores(rows: Sequence[ComparisonRow], benchmark: str) -> Pooled:
    """Pool the scores of some checkpoints on a benchmark."""
    each = [(row.scores.get(benchmark), row.resampled.scores.get(benchmark)) for row in rows]
    return pooled_draws(each, [row.seed for row in rows])


@dataclass(frozen=True)
class Gain:
    """A method's many-shot less its post-hoc merge of the same seed, by statistic."""

    method: str
    differences: dict[str, Pooled]


def gains(comparison: Comparison) -> list[Gain]:
    """Return the paired differences of the methods that were merged in both ways."""
    differences = []
    for merged in merged_methods(comparison):
        identity = merged.rows[0].entry.identity
        once = [
            row
            for row in comparison.rows
            if identity is not None and row.protocol == "post-hoc" and row.entry.identity == identity
        ]
        if merged.protocol != "many-shot" or not once:
            continue
        by_seed = {row.seed: row for row in once}
        pairs = [(row, by_seed[row.seed]) for row in merged.rows if row.seed in by_seed]
        differences.append(Gain(merged.title, {name: pooled_difference(pairs, name) for name in RANKED_BY}))
    return differences
