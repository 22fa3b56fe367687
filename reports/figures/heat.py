"""Heat maps with their numbers in them."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from reports.figures.drawing import figure_of_panels, wrapped
from reports.table_model import UNKNOWN

_CELL, _CELL_OF_MANY = 0.52, 0.42
"""Inches of a cell of a map alone, and of one beside others."""
NAME = 18
"""Characters in a line of a name beside a map."""
_WIDTH = 9.4


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
