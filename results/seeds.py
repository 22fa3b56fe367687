"""Many-shot less post-hoc at equal budgets, over seeds; `results.pooled` has the means themselves.

Two intervals are told apart: over seeds, by how much trainings differ on the documents that were scored; and
over documents, by how much the mean of just these trainings would differ on others.
"""

from dataclasses import dataclass

from results.comparison import Comparison
from results.pooled import Pooled, merged_methods, pooled_difference

STATISTICS = ("average", "worst_task")


@dataclass(frozen=True)
class Gain:
    """A method's many-shot less its post-hoc merge of the same seed, by statistic."""

    method: str
    differences: dict[str, Pooled]


def gains(comparison: Comparison) -> list[Gain]:
    """Return the paired differences of the methods that were merged in both ways."""
    found = []
    for one in merged_methods(comparison):
        identity = one.rows[0].identity
        once = [
            row
            for row in comparison.rows
            if identity is not None and row.protocol == "post-hoc" and row.identity == identity
        ]
        if one.protocol != "many-shot" or not once:
            continue
        by_seed = {row.seed: row for row in once}
        pairs = [(row, by_seed[row.seed]) for row in one.rows if row.seed in by_seed]
        found.append(Gain(one.title, {name: pooled_difference(pairs, name) for name in STATISTICS}))
    return found
