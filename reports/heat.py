"""Heat maps with their numbers in them: the signals of models."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from reports.drawing import STYLE, check_suffix, figure_of_panels, save, wrapped
from reports.shown import documents
from reports.table_model import UNKNOWN
from results.signals import KINDS, SignalReport

_CELL, _CELL_OF_MANY = 0.52, 0.42
"""Inches of a cell of a map alone, and of one beside others."""
NAME = 18
"""Characters in a line of a name beside a map."""
_WIDTH = 9.4

Matrix = Mapping[str, Mapping[str, float]]


def divergence_map(report: SignalReport, kind: str, out: Path) -> Path:
    """The divergence of every model from each expert, on what that expert says of its own task.

    Args:
        report: what was measured.
        kind: kl or js.
        out: the figure's file: .png, .pdf or .svg.

    Raises:
        InputError: another suffix.
    """
    bound = ", at least" if report.bounds else ""
    return _signal_map(
        report.divergences[kind],
        report.models,
        ("model", f"{KINDS[kind]}(expert ‖ model), nats{bound}", "expert, on its own task"),
        f"{documents(report.inputs, 'validation inputs', 'tasks')}. 1 seed.",
        out,
    )


def cosine_map(report: SignalReport, out: Path) -> Path:
    """The cosines of the experts' task vectors.

    Args:
        report: what was measured.
        out: the figure's file: .png, .pdf or .svg.

    Raises:
        InputError: another suffix.
    """
    names = ("task vector of", "cosine of task vectors", "task vector of")
    footer = f"n = {len(report.tasks)} experts, each of 1 seed; over all entries of their tensors."
    return _signal_map(report.cosines, report.tasks, names, footer, out)


def _signal_map(
    matrix: Matrix, columns: Sequence[str], names: tuple[str, str, str], footer: str, out: Path
) -> Path:
    check_suffix(out)
    across, title, down = names
    values = [[row[column] for column in columns] for row in matrix.values()]
    low, high = min(map(min, values)), max(map(max, values))
    with rc_context(STYLE):
        figure, (axes,) = maps([""], list(matrix), columns)
        image = draw_map(axes, values, list(matrix), columns, (low, high))
        axes.set(xlabel=across, ylabel=down)
        figure.colorbar(image, ax=axes, shrink=0.9, label=title)
        return save(figure, out, footer)


def maps(titles: Sequence[str], rows: Sequence[str], columns: Sequence[str]) -> tuple[Figure, list[Axes]]:
    """A figure with room for so many maps, as many side by side as fit.

    Args:
        titles: of the maps; a map alone needs none.
        rows: names beside them.
        columns: names below them.
    """
    cell = _CELL if len(titles) == 1 else _CELL_OF_MANY
    width = cell * len(columns) + 0.075 * min(NAME, max(map(len, rows))) + 0.35
    height = 0.8 * cell * len(rows) + 0.075 * min(NAME, max(map(len, columns))) + 0.6
    return figure_of_panels(titles, max(1, int((_WIDTH - 1) / width)), (width, height), beside=1.2)


def draw_map(
    axes: Axes,
    values: Sequence[Sequence[float | None]],
    rows: Sequence[str],
    columns: Sequence[str],
    limits: tuple[float, float],
) -> AxesImage:
    """Draw a map with its numbers; what is not known is left white with a dash.

    Args:
        axes: to draw in.
        values: rows of columns.
        rows: names beside it.
        columns: names below it.
        limits: the values of the darkest and the brightest colour.
    """
    low, high = limits
    image = axes.imshow(
        [[float("nan") if value is None else value for value in row] for row in values],
        cmap="cividis",
        aspect="auto",
        vmin=low,
        vmax=high,
    )
    upright = 90 if max(map(len, columns)) > 7 else 0
    axes.set_xticks(range(len(columns)), [wrapped(name, NAME) for name in columns], rotation=upright)
    axes.set_yticks(range(len(rows)), [wrapped(name, NAME) for name in rows])
    axes.tick_params(length=0, labelsize=8)
    axes.spines[:].set_visible(False)
    for line, row in enumerate(values):
        for column, value in enumerate(row):
            dark = value is not None and high > low and (value - low) / (high - low) < 0.55
            axes.text(
                column,
                line,
                UNKNOWN if value is None else _number(value),
                ha="center",
                va="center",
                fontsize=7,
                color="white" if dark else "black",
            )
    return image


def _number(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"
