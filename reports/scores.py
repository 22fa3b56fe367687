"""The table of raw scores that `manyshot score` prints: one row per benchmark, one column per checkpoint."""

from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path

from results.record import Record
from results.suite import SuiteSpec

_WIDEST = 1000  # characters; a table is as wide as it takes, so that no number is cut or folded


def score_table(records: Mapping[str, Mapping[str, Record]], suite: SuiteSpec | None) -> str:
    """Raw scores as text.

    Args:
        records: by checkpoint, then by benchmark.
        suite: where given, its tasks are named and its mean is shown, or how incomplete it is.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("benchmark", "task", "metric"):
        table.add_column(heading, no_wrap=True)
    table.add_column("n", justify="right")
    short = [Path(name).name for name in records]
    for heading in short if len(set(short)) == len(short) else records:
        table.add_column(escape(heading), justify="right", overflow="fold")
    wanted = [spec.name for spec in suite.benchmarks] if suite else _names(records)
    for benchmark in wanted:
        scored = [row.get(benchmark) for row in records.values()]
        known = next((record for record in scored if record), None)
        task = suite.task_of(benchmark) or "forgetting" if suite else ""
        cells = [f"{record.value:.3f}" if record else "no data" for record in scored]
        table.add_row(
            benchmark, task, known.metric if known else "", str(known.n) if known else "", *map(escape, cells)
        )
    if suite:
        table.add_section()
        means = [_mean(row, suite) for row in records.values()]
        table.add_row("mean", f"{len(suite.tasks)} tasks", "", "", *means, style="bold")
    output = StringIO()
    console = Console(file=output, width=_WIDEST, highlight=False)
    console.print(table)
    return "\n".join(line.rstrip() for line in output.getvalue().splitlines())


def _names(records: Mapping[str, Mapping[str, Record]]) -> Sequence[str]:
    return list(dict.fromkeys(benchmark for row in records.values() for benchmark in row))


def _mean(row: Mapping[str, Record], suite: SuiteSpec) -> str:
    wanted = [spec.name for spec in suite.task_benchmarks]
    scored = [row[name].value for name in wanted if name in row]
    if len(scored) < len(wanted):
        return f"incomplete ({len(scored)}/{len(wanted)})"
    return f"{sum(scored) / len(scored):.3f}"
