"""What a comparison says over seeds: means with intervals, and many-shot less post-hoc at equal budgets.

Two intervals are told apart: over seeds, by how much trainings differ on the documents that were scored; and
over documents, by how much the mean of just these trainings would differ on others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from results.bootstrap import Interval
from results.comparison import Comparison, Row
from results.pooled import Merged, Pooled, merged_methods, pooled_difference

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
        OverSeeds(one.title, one.protocol, {name: _spread(one.aggregate(name)) for name in STATISTICS})
        for one in merged_methods(comparison)
    ]


def gains(comparison: Comparison) -> list[Gain]:
    """Return the paired differences of the methods that were merged in both ways."""
    found = []
    for one in merged_methods(comparison):
        once = [
            row
            for row in comparison.rows
            if row.protocol == "post-hoc" and row.pair is not None and row.pair == one.rows[0].pair
        ]
        if one.protocol != "many-shot" or not once:
            continue
        by_seed = {row.seed: row for row in once}
        pairs = [(row, by_seed[row.seed]) for row in one.rows if row.seed in by_seed]
        spreads = {name: _spread(pooled_difference(pairs, name)) for name in STATISTICS}
        found.append(Gain(one.title, spreads))
    return found


def by_method(comparison: Comparison) -> dict[tuple[str, str], list[Row]]:
    """Return the merged checkpoints by title and protocol, one for each seed, in the order of the run."""
    return {(one.title, one.protocol): list(one.rows) for one in merged_methods(comparison)}


def spread(rows: Sequence[Row], statistic: str) -> Spread | None:
    """Return the spread of one method's rows, one for each seed; None where a seed has no value.

    Args:
        rows: of the seeds.
        statistic: "average", "worst_task", "gap", "anp", or the name of a task.
    """
    method = Merged("", "", tuple(rows))
    return _spread(method.task(statistic) if statistic in rows[0].tasks else method.aggregate(statistic))


def _spread(found: Pooled) -> Spread | None:
    if found.value is None:
        return None
    return Spread(found.value, len(found.values), found.seeds, found.documents)
