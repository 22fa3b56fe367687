"""What all figures share: their style, panels, legends outside of them, a footer, and how they are saved."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from reports.figures.palette import Look
from results.errors import InputError
from results.markdown import printable
from results.writing import naming

SUFFIXES = (".png", ".pdf", ".svg")
STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#444444",
    "axes.linewidth": 0.8,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "xtick.labelcolor": "black",
    "ytick.labelcolor": "black",
    "hatch.linewidth": 0.5,
    # A dollar sign in a name is a dollar sign.
    "text.parse_math": False,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "manyshot",
    "savefig.dpi": 200,
}
GRID = "#E4E4E4"
REFERENCE = "#444444"
DASHED: Any = (0, (4, 3))
_FOOTER = 7.0
_LONGEST = 110
_WIDE = 0.57
"""How wide a character is, as a share of its size: more than most are."""
_NARROWEST = 3.2
_LEGEND = 8.0
_MOST_MARKERS = 12
"""Of a curve."""
_CHARACTER = 0.068
"""Inches that a character of a legend takes."""


def check_suffix(out: Path) -> None:
    """Refuse a file whose format is none of ours.

    Raises:
        InputError: it is not.
    """
    if out.suffix.lower() not in SUFFIXES:
        raise InputError(f"{out}: a figure's name ends in {', '.join(SUFFIXES)}")


def wrapped(text: str, width: int) -> str:
    """A name on lines of at most so many characters; of a very long one the middle is left out."""
    line = printable(text)
    if len(line) > _LONGEST:
        line = f"{line[: _LONGEST // 2]} … {line[-_LONGEST // 2 :]}"
    return "\n".join(textwrap.wrap(line, width, break_on_hyphens=False)) or line


def keyed(names: Sequence[str], longest: int) -> tuple[list[str], str]:
    """Names as they are; or, where one is longer, numbers in their place and a line that tells them."""
    if max(map(len, names)) <= longest:
        return [printable(name) for name in names], ""
    numbers = [str(number) for number in range(1, len(names) + 1)]
    return numbers, "; ".join(
        f"{number}: {name}" for number, name in zip(numbers, names, strict=True)
    ) + ".\n"


def figure_of_panels(
    titles: Sequence[str],
    per_line: int,
    size: tuple[float, float] = (2.5, 2.0),
    *,
    beside: float = 0.4,
    **shared: Any,
) -> tuple[Figure, list[Axes]]:
    """A figure with a panel for each title, as high as the titles need.

    Args:
        titles: over the panels.
        per_line: most panels side by side.
        size: width and height of a panel, in inches.
        beside: width of what stands beside the panels.
        shared: what `Figure.subplots` takes, such as sharex.
    """
    across = min(len(titles), per_line)
    width = int(12 * size[0])
    names = ["\n".join(wrapped(line, width) for line in title.split("\n")) for title in titles]
    height = size[1] + 0.16 * max(name.count("\n") for name in names)
    figure = Figure(
        figsize=(max(_NARROWEST, size[0] * across + beside), height * -(-len(titles) // across) + 0.3),
        layout="constrained",
    )
    all_axes = panels(figure, len(titles), across, **shared)
    for axes, name in zip(all_axes, names, strict=True):
        axes.set_title(name)
    return figure, all_axes


def panels(figure: Figure, number: int, per_line: int, **shared: Any) -> list[Axes]:
    """Axes for so many panels, in lines of at most `per_line`.

    Args:
        figure: to draw in.
        number: of panels.
        per_line: most of them side by side.
        shared: what `Figure.subplots` takes, such as sharex.
    """
    across = min(number, per_line)
    grid = figure.subplots(-(-number // across), across, squeeze=False, **shared).ravel()
    for axes in grid[number:]:
        axes.set_visible(False)
    for axes in grid[max(0, number - across) : number]:  # also above a place that is left empty
        axes.tick_params(labelbottom=True)
    return list(grid[:number])


def logarithmic(axes: Axes) -> None:
    """Give a panel a logarithmic scale across, with plain numbers at 1, 2 and 5 of every power of ten."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def prepare(axes: Axes, reference: float | None = None, *, along: Literal["x", "y", ""] = "") -> None:
    """Give a panel a grid, round numbers, and a dashed line of reference across its values.

    Args:
        axes: the panel.
        reference: a value, such as the expert's.
        along: the axis of the values where the other one is of names; both are of numbers by default.
    """
    axes.grid(axis=along or "both", which="both", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    if along != "x":
        axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    if along:
        axes.tick_params(axis="x" if along == "y" else "y", length=0)
        axes.spines["bottom" if along == "y" else "left"].set_visible(False)
    if reference is not None:
        line = axes.axvline if along == "x" else axes.axhline
        line(reference, color=REFERENCE, linewidth=0.9, linestyle=DASHED, zorder=3 if along == "y" else 1)


def draw_curves(axes: Axes, curves: Sequence[Sequence[tuple[int, float]]], look: Look) -> None:
    """Draw the mean of some seeds' curves, and each of them thin where there are several."""
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    if len(curves) > 1:
        for curve in curves:
            axes.plot(*zip(*curve, strict=True), color=look.colour, linewidth=0.7, alpha=0.35, zorder=2)
    values: dict[int, list[float]] = {}
    for curve in curves:
        for step, value in curve:
            values.setdefault(step, []).append(value)
    steps = sorted(values)
    every = -(-len(steps) // _MOST_MARKERS)
    axes.plot(steps, [fmean(values[at]) for at in steps], markevery=every or None, zorder=3, **look.line)


def reference_line(label: str) -> Line2D:
    """What a legend shows for a dashed line of reference."""
    return Line2D([], [], color=REFERENCE, linewidth=0.9, linestyle=DASHED, label=label)


def legend_above(figure: Figure, handles: Sequence[Artist]) -> None:
    """A legend above the panels, in as many columns as fit; the figure grows by its height.

    Args:
        figure: laid out by constrained layout.
        handles: with their labels; none is no legend.
    """
    if not handles:
        return
    names = [wrapped(str(handle.get_label()), 44) for handle in handles]
    lines = [name.split("\n") for name in names]
    widest = max(len(line) for name in lines for line in name)
    columns = int((figure.get_figwidth() - 0.1) / (0.45 + _CHARACTER * widest))
    columns = max(1, min(columns, len(handles), 6))
    columns = -(-len(handles) // -(-len(handles) // columns))  # as even as that many lines let them be
    height = 0.155 * max(map(len, lines)) * -(-len(handles) // columns)
    figure.set_figheight(figure.get_figheight() + 0.1 + height)
    # As labels a legend leaves out names that begin with an underscore, and as texts it does not.
    legend = figure.legend(
        list(handles),
        [""] * len(handles),
        loc="outside upper center",
        ncols=columns,
        frameon=False,
        fontsize=_LEGEND,
        handlelength=1.8,
        columnspacing=1.2,
    )
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_text(name)


def label_below(figure: Figure, text: str) -> None:
    """Write what the panels' axes across have in common, on as many lines as it takes."""
    figure.supxlabel(_filled(figure, text, STYLE["font.size"]), fontsize=STYLE["font.size"])


def _filled(figure: Figure, text: str, size: float) -> str:
    """A text of a size in points on lines as long as the figure is wide."""
    return textwrap.fill(text, int(figure.get_figwidth() * 72 / (_WIDE * size)), break_on_hyphens=False)


def save(figure: Figure, out: Path, footer: str = "") -> Path:
    """Write a figure, the same bytes each time.

    Args:
        figure: what is drawn.
        out: its file.
        footer: what stands below in small print, such as what the numbers rest on.
    """
    if footer:
        lines = [printable(line).replace(" %", "\u00a0%") for line in footer.split("\n")]
        text = "\n".join(_filled(figure, line, _FOOTER) for line in lines)
        figure.text(0.01, 0, text, fontsize=_FOOTER, va="top", color=REFERENCE, linespacing=1.25)
    out.parent.mkdir(parents=True, exist_ok=True)
    metadata = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}.get(out.suffix.lower())
    with naming(out):
        figure.savefig(out, bbox_inches="tight", pad_inches=0.06, metadata=metadata)
    return out
