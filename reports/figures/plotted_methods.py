"""What figures show of a comparison: the base and every method, each a mean over its seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from results.comparison import Comparison, ComparisonRow, Estimate
from results.errors import InputError
from results.pooled import MethodOverSeeds, Pooled, merged_methods, pooled_draws

_NAMED = 8
"""Benchmarks that are named one by one."""


@dataclass(frozen=True, eq=False)
class PlottedMethod:
    """The base, or a method under one protocol.

    Attributes:
        label: how it is called, without a seed.
        rows: of its seeds.
    """

    label: str
    rows: tuple[ComparisonRow, ...]

    @property
    def is_base(self) -> bool:
        """Whether it is the base."""
        return self.rows[0].role == "base"

    @property
    def title(self) -> str:
        """What it shares with the same method under the other protocol."""
        return self.rows[0].title

    @property
    def protocol(self) -> str:
        """Post-hoc or many-shot; empty where neither is meant."""
        return self.rows[0].protocol

    @property
    def is_complete(self) -> bool:
        """Whether all benchmarks of the tasks were scored, for every seed."""
        return all(row.is_complete for row in self.rows)

    def estimate(self, statistic: str) -> Estimate:
        """The mean over seeds, with its 95 % interval over documents.

        Args:
            statistic: "average", "worst_task", "gap", "anp", or the name of a task.
        """
        if len(self.rows) == 1:
            return self.rows[0].estimate(statistic)
        return _pooled_estimate(MethodOverSeeds(self.rows).statistic(statistic))

    def of_seeds(self, statistic: str) -> list[float]:
        """The value of each seed, where there are several and all are known."""
        values = [row.estimate(statistic).value for row in self.rows]
        known = [value for value in values if value is not None]
        return known if len(self.rows) > 1 and len(known) == len(values) else []

    def forgetting(self, benchmark: str) -> tuple[Estimate, list[float]]:
        """The difference to the base on a benchmark, and each seed's where there are several.

        It is the mean over seeds, with its 95 % interval over documents.
        """
        differences = [
            (row.forgetting.get(benchmark), row.resampled.forgetting.get(benchmark)) for row in self.rows
        ]
        pooled = pooled_draws(differences)
        return _pooled_estimate(pooled), list(pooled.values) if len(pooled.values) > 1 else []


def _pooled_estimate(pooled: Pooled) -> Estimate:
    interval = pooled.documents
    return Estimate(pooled.value, interval.low, interval.high) if interval else Estimate(pooled.value)


def plotted_methods(comparison: Comparison, *, base: bool = True) -> list[PlottedMethod]:
    """The base, where it is wanted and there, then the methods in the order of the run.

    Raises:
        InputError: there is nothing of it.
    """
    bases = [PlottedMethod(row.label, (row,)) for row in comparison.rows if row.role == "base" and base]
    methods = [PlottedMethod(_label(method.rows), method.rows) for method in merged_methods(comparison)]
    if not bases and not methods:
        what = "no base and no merged checkpoint" if base else "no merged checkpoint"
        raise InputError(f"run {comparison.name}: nothing to draw, because it has {what}")
    return [*bases, *methods]


def _label(rows: Sequence[ComparisonRow]) -> str:
    """The label of a row, without its seed where there are several."""
    first = rows[0]
    return first.label.removesuffix(f", seed {first.seed}") if len(rows) > 1 else first.label


def both_protocols(methods: Sequence[PlottedMethod]) -> bool:
    """Whether some are post-hoc and some many-shot."""
    return len({method.protocol for method in methods if method.protocol}) > 1


def basis(
    comparison: Comparison,
    methods: Sequence[PlottedMethod],
    *,
    intervals: bool = True,
    seed_marks: str = "small marks",
    forgetting: bool = False,
) -> str:
    """What the numbers of a figure rest on: documents, seeds, and what its intervals are.

    Args:
        comparison: that is drawn.
        methods: what is shown of it.
        intervals: whether bars are 95 % intervals over documents.
        seed_marks: what is drawn of each seed beside the mean.
        forgetting: whether the benchmarks are those that watch forgetting.
    """
    benchmarks = comparison.suite.forgetting if forgetting else comparison.suite.task_benchmarks
    names = [benchmark.name for benchmark in benchmarks if benchmark.name not in comparison.left_out]
    rows = [row for method in methods for row in method.rows]
    sentences = [f"{documents({name: max(row.n.get(name, 0) for row in rows) for name in names})}."]
    sentences.append(f"{seeds([len(method.rows) for method in methods if not method.is_base], seed_marks)}.")
    if intervals:
        sentences.append("Bars: 95 % over documents.")
    if comparison.left_out and not forgetting:
        sentences.append(f"Left out, as the expert has not learned it: {', '.join(comparison.left_out)}.")
    return " ".join(sentences)


def documents(n: Mapping[str, int], what: str = "documents", of: str = "benchmarks") -> str:
    """The numbers of documents in few words.

    Args:
        n: by benchmark, or task.
        what: is counted.
        of: what the names are called.
    """
    known = {name: number for name, number in n.items() if number}
    if not known:
        return f"n not known ({what})"
    numbers = sorted(set(known.values()))
    if len(known) == 1:
        return f"n = {numbers[0]:,} {what} ({next(iter(known))})"
    if len(numbers) == 1:
        return f"n = {numbers[0]:,} {what} in each of {len(known)} {of}"
    if len(known) > _NAMED:
        return f"n = {numbers[0]:,} to {numbers[-1]:,} {what} in each of {len(known)} {of}"
    return f"n, {what}: {', '.join(f'{name} {number:,}' for name, number in known.items())}"


def seeds(counts: Sequence[int], seed_marks: str = "") -> str:
    """The number of seeds in few words.

    Args:
        counts: of every method.
        seed_marks: what is drawn of each seed beside the mean.
    """
    few, most = min(counts, default=1), max(counts, default=1)
    if most == 1:
        return "1 seed"
    several = f"{most} seeds" if few == most else f"{few} to {most} seeds"
    return f"Means of {several}" + (f"; {seed_marks}: each seed" if seed_marks else "")


def numbers(estimate: Estimate) -> list[float]:
    """The value, and the bounds of its interval, as far as they are known."""
    return [number for number in (estimate.value, estimate.low, estimate.high) if number is not None]


def limits(estimates: Sequence[Estimate], others: Sequence[float] = ()) -> tuple[float, float]:
    """Limits of an axis that shows every interval, the other numbers, and 1."""
    everything = [1.0, *others, *(number for estimate in estimates for number in numbers(estimate))]
    low, high = min(everything), max(everything)
    margin = 0.05 * max(high - low, 0.1)
    return low - margin, high + margin
