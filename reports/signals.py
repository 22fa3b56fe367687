"""Signals as text and as heat maps."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from reports.drawing import STYLE, check_suffix, save
from reports.sheet import printable
from results.signals import SignalReport, mean_known

_NAMES = {"kl": "KL", "js": "JS"}


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
        title = f"{_NAMES[kind]}(expert ‖ ·){', at least' if report.bounds else ''}"
        blocks.append(_table(title, report.models, rows))
    cosines = [[one, *(f"{report.cosines[one][two]:.3f}" for two in report.tasks)] for one in report.tasks]
    blocks.append(_table("cosine of task vectors", report.tasks, cosines))
    correlations = {_NAMES[kind]: report.correlations(kind) for kind in report.divergences}
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


def heat_map(
    matrix: Mapping[str, Mapping[str, float]], columns: Sequence[str], title: str, out: Path
) -> Path:
    """Draw a matrix with its numbers in it.

    Args:
        matrix: by row and column.
        columns: in their order.
        title: what is shown.
        out: the figure's file: .png, .pdf or .svg.

    Raises:
        InputError: another suffix.
    """
    check_suffix(out)
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    values = [[row[column] for column in columns] for row in matrix.values()]
    low, high = min(map(min, values)), max(map(max, values))
    with rc_context(STYLE):
        figure = Figure(figsize=(0.85 * len(columns) + 1.6, 0.6 * len(matrix) + 1.2), layout="constrained")
        axes = figure.subplots()
        image = axes.imshow(values, cmap="cividis", aspect="auto", vmin=low, vmax=high)
        axes.set_xticks(range(len(columns)), [printable(name) for name in columns], rotation=30, ha="right")
        axes.set_yticks(range(len(matrix)), [printable(name) for name in matrix])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_title(title)
        for line, row in enumerate(values):
            for column, value in enumerate(row):
                dark = high > low and (value - low) / (high - low) < 0.55
                axes.text(
                    column, line, f"{value:.2f}", ha="center", va="center", fontsize=8,
                    color="white" if dark else "black",
                )  # fmt: skip
        figure.colorbar(image, ax=axes, shrink=0.9)
        return save(figure, out)


def signal_figures(report: SignalReport, folder: Path) -> list[Path]:
    """Draw the heat maps of divergences and cosines into a folder."""
    files = [
        heat_map(
            matrix,
            report.models,
            f"{_NAMES[kind]}(expert ‖ model) on the expert's answers, in nats",
            folder / f"{kind}.png",
        )
        for kind, matrix in report.divergences.items()
    ]
    title = "cosine of task vectors"
    return [*files, heat_map(report.cosines, report.tasks, title, folder / "cosines.png")]


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
