"""Signals as text, and their figures."""

import io
from collections.abc import Sequence
from pathlib import Path

from reports.correlation import has_scores
from reports.gallery import SIGNALS
from results.signals import KINDS, SignalReport, mean_known


def signals_text(report: SignalReport) -> str:
    """Return all signals as text: losses, gaps, divergences, cosines, and correlations where there are."""
    blocks = []
    losses = [
        [f"L({model})", *(f"{report.losses[model][task]:.3f}" for task in report.tasks)]
        for model in report.models
    ]
    losses.append(["gap: base − expert", *(f"{report.gaps[task]:+.3f}" for task in report.tasks)])
    blocks.append(_table("validation loss on", report.tasks, losses))
    for kind, matrix in report.divergences.items():
        rows = [[task, *(_number(matrix[task][model]) for model in report.models)] for task in report.tasks]
        title = f"{KINDS[kind]}(expert ‖ ·){', at least' if report.bounds else ''}"
        blocks.append(_table(title, report.models, rows))
    cosines = [[one, *(f"{report.cosines[one][two]:.3f}" for two in report.tasks)] for one in report.tasks]
    blocks.append(_table("cosine of task vectors", report.tasks, cosines))
    correlations = {KINDS[kind]: report.correlations(kind) for kind in report.divergences}
    if any(value is not None for found in correlations.values() for value in found.values()):
        rows = [
            [name, *map(_rho, found.values()), _rho(mean_known(found))]
            for name, found in correlations.items()
        ]
        blocks.append(_table("Spearman's ρ of −D and score", [*report.tasks, "mean"], rows))
    else:
        blocks.append("No correlation: it needs the experts' scores on all tasks (--score makes them).")
    inputs = ", ".join(f"{task} {number}" for task, number in report.inputs.items())
    blocks.append(f"Divergences in nats, means over validation inputs: {inputs}.")
    return "\n\n".join(blocks)


def signal_figures(report: SignalReport, folder: Path) -> list[Path]:
    """Draw heat maps of divergences and cosines into a folder, and the correlation where there are scores."""
    missing = {*KINDS} - {*report.divergences} | ({"correlation"} if not has_scores(report) else set())
    return [draw(report, folder / f"{name}.png") for name, draw in SIGNALS.items() if name not in missing]


def _number(value: float) -> str:
    return f"{value:.4f}" if value < 10 else f"{value:.2f}"


def _rho(value: float | None) -> str:
    return "—" if value is None else f"{value:+.3f}"


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(Text(title))
    for column in columns:
        table.add_column(Text(column), justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    text = io.StringIO()
    Console(file=text, width=1000, highlight=False).print(table)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()).strip("\n")
