"""The table of ANP by the number of merged tasks, in Markdown."""

from collections.abc import Sequence

from reports.table_model import Cell, Column, Group, Table, TableRow, Value
from reports.writers import markdown
from results.task_subsets import OverSubsets


def subsets_report(summaries: Sequence[OverSubsets]) -> str:
    """Methods by number of tasks, mean ANP with its interval over tasks, as Markdown."""
    sizes = sorted({summary.size for summary in summaries})
    numbers = {size: max(summary.n for summary in summaries if summary.size == size) for size in sizes}
    columns = {"protocol": Column("protocol", "text")} | {
        str(size): Column(f"{size} tasks (n = {numbers[size]})", ranked=False) for size in sizes
    }
    rows: dict[tuple[str, str], dict[str, Cell | str]] = {}
    for summary in summaries:
        values = rows.setdefault((summary.method, summary.protocol), {"protocol": summary.protocol})
        values[str(summary.size)] = _cell(summary, numbers[summary.size])
    group = Group(tuple(TableRow(method, values) for (method, _), values in rows.items()))
    text = markdown(Table(columns, (group,), "method"))
    text += (
        "\nMean ANP over all subsets of so many tasks, with 95 % intervals by a jackknife over the tasks, "
        "which subsets share.\n"
    )
    partly = dict.fromkeys(
        f"{summary.method} ({summary.protocol}) at {summary.size} tasks ({summary.without})"
        for summary in summaries
        if summary.without and summary.n > 1
    )
    if any(summary.without and summary.n == 1 for summary in summaries):
        text += "One subset has no interval: there is none to set beside it.\n"
    if partly:
        text += f"No interval, because subsets are missing: {', '.join(partly)}.\n"
    return text


def _cell(summary: OverSubsets, most: int) -> Cell:
    interval = summary.interval
    beside = f"[{interval.low:.3f}, {interval.high:.3f}]" if interval else ""
    if summary.n < most:
        beside = f"{beside} (n = {summary.n})".lstrip()
    return Cell(f"{summary.mean:.3f}", beside, value=Value(summary.mean))
