"""Methods ranked in groups that cannot be told apart, beside what each merge cost."""

from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np

from reports.merge_cost import MEASURE, MIB, Cost, cost_of
from reports.table_model import Column, Group, Table, TableRow, Value, pooled_value
from reports.tables import named_table
from reports.tables.comparison import notes_of
from results.comparison import Comparison, ComparisonRow
from results.merge_trace import MergeTrace
from results.pooled import MethodOverSeeds, merged_methods
from results.ranking import rank_groups
from results.suite import RANKED_BY

_COLUMNS = {
    "average rank": Column("rank", digits=0, ranked=False),
    "average": Column("average", "aggregate", ranked=False, interval="bounds"),
    "worst_task rank": Column("worst-task rank", digits=0, ranked=False),
    "worst_task": Column("worst task", "aggregate", ranked=False, interval="bounds"),
    "seconds": Column("seconds", digits=2, ranked=False),
    "memory": Column("MiB", digits=1, ranked=False),
}
_CAPTION = (
    "Normalised performance: 1 is the expert of the task. Methods of one rank cannot be told apart from the "
    "best of them by these documents and seeds, which does not say that they are equal: rank by the average, "
    "worst-task rank by the worst task. "
    "Seconds are of one merge with what it measures, learns and chooses, without training; MiB is the most "
    "memory that the merging alone took, beside mapped files."
)


@named_table("ranks", "methods in ranks that cannot be told apart, with seconds and memory of a merge")
def ranks_of_runs(runs: Mapping[str, Comparison]) -> Table:
    """The methods of each run, ranked among themselves."""
    groups = tuple(
        Group(_rows(run), backbone if len(runs) > 1 else "", rank=None) for backbone, run in runs.items()
    )
    notes = dict.fromkeys(note for run in runs.values() for note in _notes(run))
    return Table(_COLUMNS, groups, "method", _CAPTION, tuple(notes))


def _rows(comparison: Comparison) -> tuple[TableRow, ...]:
    methods = merged_methods(comparison)
    ranked = {name: _ranks(methods, name) for name in RANKED_BY}
    several = len({method.protocol for method in methods}) > 1
    rows = []
    for place, method in enumerate(methods):
        costs = _costs(method, comparison)
        values: dict[str, Value] = {}
        for name in RANKED_BY:
            values[f"{name} rank"] = Value(ranked[name].get(place))
            values[name] = pooled_value(method.aggregate(name))
        seconds = [cost.own for cost in costs if cost.seconds]
        memory = [cost.memory / MIB for cost in costs if cost.memory]
        values["seconds"] = Value(fmean(seconds) if len(seconds) == len(costs) else None)
        values["memory"] = Value(max(memory) if len(memory) == len(costs) else None)
        many = several and method.protocol == "many-shot" and "many-shot" not in method.title
        rows.append(TableRow(f"{method.title}, many-shot" if many else method.title, values))
    return tuple(sorted(rows, key=_order))


def _order(row: TableRow) -> tuple[float, float]:
    rank, average = row.value("average rank").number, row.value("average").number
    return float("inf") if rank is None else rank, -(average or 0.0)


def _ranks(methods: Sequence[MethodOverSeeds], statistic: str) -> dict[int, int]:
    """Rank groups by a statistic, by the method's place; none of what is not known or not complete."""
    known = {}
    for place, method in enumerate(methods):
        pooled = method.aggregate(statistic)
        if pooled.value is not None and all(row.is_complete for row in method.rows):
            draws = np.empty(0) if pooled.draws is None else pooled.draws
            known[place] = pooled.value, draws, pooled.by_seed
    values, drawn, seeds = zip(*known.values(), strict=True) if known else ((), (), ())
    return dict(zip(known, rank_groups(values, drawn, seeds), strict=True))


def _costs(method: MethodOverSeeds, comparison: Comparison) -> list[Cost]:
    return [cost_of(row, comparison.rounds) for row in method.rows]


def _notes(comparison: Comparison) -> list[str]:
    methods = merged_methods(comparison)
    entries = [row.entry for method in methods for row in method.rows]
    notes = []
    if entries and all(entry.identity is not None and not entry.identity.settings for entry in entries):
        notes.append("every method with its own default settings; nothing was tuned")
    on_data = [method.title for method in methods if any(map(_looks_at_data, method.rows))]
    if on_data:
        notes.append(f"look at validation data before they merge: {', '.join(on_data)}")
    if comparison.limit is not None:
        notes.append(f"limited: at most {comparison.limit} documents of each lm-eval task were scored")
    merged = [row for row in comparison.rows if row.role == "merged"]
    return [*notes, *comparison.left_out.values(), *notes_of(merged)]


def _looks_at_data(row: ComparisonRow) -> bool:
    trace = row.entry.trace or MergeTrace()
    measured = trace.seconds.get(MEASURE, 0.0) > 0
    return measured or trace.signal is not None or trace.learned is not None or bool(trace.trials)
