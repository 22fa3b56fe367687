"""Signals as tables on a terminal."""

from collections.abc import Iterable, Sequence

from reports.table_model import UNKNOWN, Column, Group, Table, TableRow
from reports.terminal import wide_terminal
from results.signal_report import KINDS, SignalReport, mean_of_known


def signals_text(report: SignalReport) -> str:
    """All signals as text: losses, gaps, divergences, cosines, and correlations where there are."""
    losses = [
        (f"L({model})", [f"{report.losses[model][task]:.3f}" for task in report.tasks])
        for model in report.models
    ]
    losses.append(("gap: base − expert", [f"{report.gaps[task]:+.3f}" for task in report.tasks]))
    blocks = [_table("validation loss on", report.tasks, losses)]
    for kind, matrix in report.divergences.items():
        title = f"{KINDS[kind]}(expert ‖ ·){', at least' if report.bounds else ''}"
        rows = [(task, [_number(matrix[task][model]) for model in report.models]) for task in report.tasks]
        blocks.append(_table(title, report.models, rows))
    cosines = [
        (task, [f"{report.cosines[task][other]:.3f}" for other in report.tasks]) for task in report.tasks
    ]
    blocks.append(_table("cosine of task vectors", report.tasks, cosines))
    correlations = {KINDS[kind]: report.spearman[kind] for kind in report.divergences}
    if any(rho is not None for by_task in correlations.values() for rho in by_task.values()):
        rows = [
            (name, list(map(_rho, [*by_task.values(), mean_of_known(by_task)])))
            for name, by_task in correlations.items()
        ]
        blocks.append(_table("Spearman's ρ of −D and score", [*report.tasks, "mean"], rows))
    else:
        blocks.append("No correlation: it needs the experts' scores on all tasks (--score makes them).\n")
    inputs = ", ".join(f"{task} {number}" for task, number in report.inputs.items())
    blocks.append(f"Divergences in nats, means over validation inputs: {inputs}.")
    return "\n".join(blocks)


def _number(value: float) -> str:
    return f"{value:.4f}" if value < 10 else f"{value:.2f}"


def _rho(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:+.3f}"


def _table(title: str, columns: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]]) -> str:
    group = Group(tuple(TableRow(label, dict(zip(columns, texts, strict=True))) for label, texts in rows))
    return wide_terminal(Table({name: Column(name, ranked=False) for name in columns}, (group,), title))
