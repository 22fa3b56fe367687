"""What a run comes to: every checkpoint's normalised performance, forgetting and intervals."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from results import bootstrap, minima
from results.errors import InputError
from results.run import Entry, Role
from results.suite import AGGREGATES, SuiteSpec


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval over documents; None where it is not known."""

    value: float | None
    low: float | None = None
    high: float | None = None

    def to_json(self) -> dict[str, float | None]:
        """The three as a JSON value."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class ComparisonRow:
    """One checkpoint of the comparison.

    Attributes:
        entry: what the run says of it.
        scores: as the benchmarks report them, for every benchmark it was scored on.
        performance: NP_b for every benchmark of a task.
        tasks: NP_t for every task; not known where all its benchmarks are left out.
        average: over benchmarks.
        worst_task: the least NP_t.
        gap: worst_task − average.
        anp: over tasks.
        forgetting: difference to the base on the benchmarks that watch forgetting; negative is forgotten.
        complete: how many benchmarks of the tasks have a normalised performance to show (the checkpoint and
            its reference were scored), and how many there are; those that are left out do not count.
        notes: what the reader of the numbers should know.
        resampled: what the intervals were taken from.
        n: number of documents of every benchmark that it was scored on.
    """

    entry: Entry
    scores: Mapping[str, float]
    performance: Mapping[str, float | None]
    tasks: Mapping[str, Estimate]
    average: Estimate
    worst_task: Estimate
    gap: Estimate
    anp: Estimate
    forgetting: Mapping[str, float | None]
    complete: tuple[int, int]
    notes: tuple[str, ...]
    resampled: bootstrap.ResampledPerformance = field(repr=False, compare=False)
    n: Mapping[str, int] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """How it is called; unique in the comparison."""
        return self.entry.label

    @property
    def role(self) -> Role:
        """Base, expert, merged or round."""
        return self.entry.role

    @property
    def title(self) -> str:
        """How the rows of all seeds, and of a merge's rounds, are called together."""
        return self.entry.title or self.entry.label

    @property
    def protocol(self) -> str:
        """Post-hoc or many-shot; empty of what was not merged."""
        return self.entry.protocol or ""

    @property
    def seed(self) -> int | None:
        """Of its training or merging, where it has one."""
        return self.entry.seed

    def estimate(self, statistic: str) -> Estimate:
        """The average, worst_task, gap or anp, or normalised performance on the task of this name."""
        estimate: Estimate = self.tasks[statistic] if statistic in self.tasks else getattr(self, statistic)
        return estimate

    @property
    def is_complete(self) -> bool:
        """Whether all benchmarks of the tasks were scored."""
        return self.complete[0] == self.complete[1]

    def to_json(self) -> dict[str, Any]:
        """The row as a JSON value; None where a number is not known."""
        return {
            "label": self.label,
            "role": self.role,
            "checkpoint": self.entry.path,
            "method": self.entry.method,
            "protocol": self.entry.protocol,
            "seed": self.seed,
            "average": self.average.to_json(),
            "worst_task": self.worst_task.to_json(),
            "gap": self.gap.to_json(),
            "anp": self.anp.to_json(),
            "tasks": {task: estimate.to_json() for task, estimate in self.tasks.items()},
            "forgetting": dict(self.forgetting),
            "scores": dict(self.scores),
            "n": dict(self.n),
            "complete": list(self.complete),
            "notes": list(self.notes),
            "trace": self.entry.trace and self.entry.trace.model_dump(mode="json"),
            "recipe": self.entry.recipe and self.entry.recipe.model_dump(mode="json"),
            "selection": self.entry.selection and self.entry.selection.model_dump(mode="json"),
        }


@dataclass(frozen=True)
class Comparison:
    """The rows of a run: the base, the experts, the merged checkpoints, each in the order of the run.

    Attributes:
        name: the run's.
        suite: what was scored.
        rows: one per checkpoint.
        rounds: one per round on the way to a merged checkpoint, in order.
        limit: most documents of each lm-eval task that were scored; None for all.
        left_out: benchmarks that count in no aggregate, and why.
        validation: by task, how many validation examples weights and choices rest on, where that is known.
    """

    name: str
    suite: SuiteSpec
    rows: tuple[ComparisonRow, ...]
    limit: int | None = None
    rounds: tuple[ComparisonRow, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    validation: Mapping[str, int] = field(default_factory=dict)

    @property
    def base(self) -> ComparisonRow | None:
        """The row of the base, where there is one."""
        return next((row for row in self.rows if row.role == "base"), None)

    @property
    def counted_tasks(self) -> tuple[str, ...]:
        """The tasks that count in the aggregates."""
        return tuple(self.suite.counted(self.left_out))

    def row(self, label: str) -> ComparisonRow:
        """The row of this label.

        Raises:
            InputError: there is none.
        """
        for row in self.rows:
            if row.label == label:
                return row
        raise InputError(
            f"run {self.name}: no '{label}'; there are {', '.join(row.label for row in self.rows)}"
        )

    def to_json(self) -> list[dict[str, Any]]:
        """All rows as JSON values."""
        return [row.to_json() for row in self.rows]


def paired_difference(
    comparison: Comparison, first: str, second: str, statistic: str = "average"
) -> minima.PairedDifference:
    """How much better the first checkpoint is than the second, from the same resampled documents.

    Args:
        comparison: that has both.
        first: a label.
        second: a label.
        statistic: "average", "worst_task", "gap", "anp", or the name of a task.

    Raises:
        InputError: one of them is not there, or has no value for the statistic.
    """
    rows = comparison.row(first), comparison.row(second)
    values = []
    for row in rows:
        estimates = {*row.resampled.tasks, *AGGREGATES}
        if statistic not in estimates:
            raise InputError(f"no statistic '{statistic}'; there are {', '.join(sorted(estimates))}")
        value = row.estimate(statistic).value
        if value is None:
            raise InputError(f"'{row.label}' has no {statistic} to compare; {'; '.join(row.notes)}")
        values.append(value)
    parts = [row.resampled.parts(statistic) for row in rows]
    difference = minima.difference(values[0] - values[1], *parts)
    if difference is None:
        raise InputError(f"no resample gives both '{first}' and '{second}' a value of {statistic}")
    return difference
