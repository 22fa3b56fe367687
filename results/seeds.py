"""What a comparison says over seeds: means with intervals, and many-shot less post-hoc at equal budgets."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev

from results.comparison import Comparison, Row

STATISTICS = ("average", "worst_task")


@dataclass(frozen=True)
class Spread:
    """A mean over seeds with its 95 % interval by Student's t; without one where there is one seed."""

    mean: float
    low: float | None
    high: float | None
    n: int


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
        OverSeeds(
            method, protocol, {name: _spread([_value(row, name) for row in rows]) for name in STATISTICS}
        )
        for (method, protocol), rows in _groups(comparison).items()
    ]


def gains(comparison: Comparison) -> list[Gain]:
    """Return the paired differences of the methods that were merged in both ways."""
    groups = _groups(comparison)
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


def _groups(comparison: Comparison) -> dict[tuple[str, str], list[Row]]:
    found: dict[tuple[str, str], list[Row]] = {}
    for row in comparison.rows:
        if row.role == "merged":
            found.setdefault((row.title or row.label, row.protocol or ""), []).append(row)
    return found


def _value(row: Row, statistic: str) -> float | None:
    return (row.average if statistic == "average" else row.worst_task).value


def _difference(row: Row, other: Row, statistic: str) -> float | None:
    one, two = _value(row, statistic), _value(other, statistic)
    return None if one is None or two is None else one - two


def _spread(values: Sequence[float | None]) -> Spread | None:
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    mean = fmean(known)
    if len(known) < 2:
        return Spread(mean, None, None, 1)
    from scipy.stats import t

    half = float(t.ppf(0.975, len(known) - 1)) * stdev(known) / sqrt(len(known))
    return Spread(mean, mean - half, mean + half, len(known))
