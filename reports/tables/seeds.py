"""The tables over seeds: every method merged once and in rounds, the difference, and what was chosen."""

from collections.abc import Mapping

from reports.table_model import UNKNOWN, Cell, Column, Group, Table, TableRow, Value
from reports.writers import markdown
from results.comparison import Comparison
from results.intervals import Interval
from results.merge_trace import MergeTrace
from results.pooled import Pooled, gains, merged_methods
from results.suite import RANKED_BY

_PROTOCOL = {"protocol": Column("protocol", "text")}
_MEANS = {
    f"{name} {part}": Column(title, ranked=False)
    for name in RANKED_BY
    for part, title in (
        ("mean", name.replace("_", " ")),
        ("seeds", "over seeds"),
        ("documents", "over documents"),
    )
}


def seeds_report(comparison: Comparison) -> str:
    """Means of normalised performance over seeds, with both 95 % intervals, as Markdown."""
    means = [
        (method, {name: method.aggregate(name) for name in RANKED_BY})
        for method in merged_methods(comparison)
    ]
    rows = [
        TableRow(method.title, {"protocol": method.protocol, **_values(pooled, "")})
        for method, pooled in means
    ]
    text = markdown(Table(_PROTOCOL | _MEANS, (Group(tuple(rows)),), "method"))
    if differences := gains(comparison):
        rows = [TableRow(gain.method, _values(gain.differences, "+")) for gain in differences]
        text += "\nMany-shot less post-hoc, of the same seed on the same documents:\n\n"
        text += markdown(Table(_MEANS, (Group(tuple(rows)),), "method"))
    if choices := chosen(comparison):
        titles = ("seed", "settings", "candidates", "round")
        columns = _PROTOCOL | {title: Column(title, "text") for title in titles}
        text += "\nChosen on validation data:\n\n"
        text += markdown(Table(columns, (Group(tuple(choices)),), "method"))
    seeds = {len(one.values) for _, pooled in means for one in pooled.values() if one.values}
    number = " or ".join(map(str, sorted(seeds))) or "no"
    return text + (
        f"\nMeans of {number} {'seed' if seeds == {1} else 'seeds'}, with 95 % intervals: over seeds by "
        "Student's t, over documents by a paired bootstrap of these seeds' means.\n"
    )


def chosen(comparison: Comparison) -> list[TableRow]:
    """What was chosen on validation data, a row for each checkpoint: settings, of how many, and round."""
    rows = []
    for row in comparison.rows:
        trace, selection = row.entry.trace or MergeTrace(), row.entry.selection
        tried, scored = bool(trace.trials), selection is not None and len(selection.scores)
        if tried or scored:
            settings = ", ".join(f"{name}={value}" for name, value in trace.settings.items())
            values = {
                "protocol": row.protocol,
                "seed": UNKNOWN if row.seed is None else str(row.seed),
                "settings": settings if tried else UNKNOWN,
                "candidates": str(trace.candidates) if tried else UNKNOWN,
                "round": f"{selection.round_index} of {scored}" if selection and scored else "last",
            }
            rows.append(TableRow(row.title, values))
    return rows


def _values(statistics: Mapping[str, Pooled], sign: str) -> dict[str, Cell]:
    values = {}
    for name, pooled in statistics.items():
        if pooled.value is not None:
            values[f"{name} mean"] = Cell(f"{pooled.value:{sign}.3f}", value=Value(pooled.value))
            values[f"{name} seeds"] = _interval(pooled.seeds, sign)
            values[f"{name} documents"] = _interval(pooled.documents, sign)
    return values


def _interval(interval: Interval | None, sign: str) -> Cell:
    if interval is None:
        return Cell(UNKNOWN)
    text = f"[{interval.low:{sign}.3f}, {interval.high:{sign}.3f}]"
    return Cell(text, value=Value(None, interval.low, interval.high))
