"""Performance as dots, a line per method, and the panels of dots that forgetting is drawn with too."""

from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import AutoMinorLocator, MaxNLocator

from reports.drawing import DASHED, GRID, REFERENCE, STYLE, check_suffix, label_below, panels, save, wrapped
from reports.palette import BASE_COLOUR, Look, looks
from reports.shown import Shown, basis, both_protocols, numbers, shown
from reports.table_model import UNKNOWN
from results.comparison import Comparison, Estimate

_PANELS_PER_LINE = 5
_LABEL = 44
"""Characters in a line of a method's name."""

Value = Callable[[Shown, str], tuple[Estimate, Sequence[float]]]
"""Of a method and a panel: the value with its interval, and each seed's value where there are several."""


def normalised_performance(comparison: Comparison, out: Path) -> Path:
    """Dots with 95 % intervals: one panel for the average and one per task, one line per method.

    The base is grey; the dashed line at 1 is the expert of the task. Of several seeds there are small marks.

    Args:
        comparison: what to show.
        out: the figure's file; its suffix says the format: .png, .pdf or .svg.

    Returns:
        `out`.

    Raises:
        InputError: another suffix, or no base and no merged checkpoint to show.
    """
    check_suffix(out)
    drawn = shown(comparison)
    names = ["average", *comparison.counted_tasks]
    with rc_context(STYLE):
        figure = draw_dots(drawn, names, lambda one, name: (one.estimate(name), one.of_seeds(name)), 1.0)
        hollow = "; hollow: post-hoc, filled: many-shot" if both_protocols(drawn) else ""
        label_below(figure, f"normalised performance (dashed: the expert of the task{hollow})")
        return save(figure, out, basis(comparison, drawn))


def draw_dots(drawn: Sequence[Shown], names: Sequence[str], value: Value, reference: float) -> Figure:
    """Draw a panel for each name. To be called under the style of all figures.

    Args:
        drawn: methods, from top to bottom.
        names: of the panels; `average` is set in bold.
        value: what is drawn of a method in a panel.
        reference: where the dashed line is, which every panel shows.
    """
    labels = [wrapped(one.label, _LABEL) for one in drawn]
    lines = [label.split("\n") for label in labels]
    columns = min(len(names), _PANELS_PER_LINE)
    height = (0.07 + 0.17 * max(map(len, lines))) * len(drawn) + 0.8
    width = 0.075 * max(len(line) for label in lines for line in label) + 0.4 + 1.55 * columns
    figure = Figure(figsize=(width, height * -(-len(names) // columns) + 0.35), layout="constrained")
    style = looks(drawn)
    found = panels(figure, len(names), columns, sharex=True, sharey=True)
    seen = [reference]
    for axes, name in zip(found, names, strict=True):
        axes.set_title(wrapped(name, 20), weight="bold" if name == "average" else "normal")
        axes.axvline(reference, color=REFERENCE, linewidth=0.9, linestyle=DASHED, zorder=1)
        axes.grid(axis="x", which="both", color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        for place, one in enumerate(drawn):
            estimate, each = value(one, name)
            if place % 2 == 0:
                axes.axhspan(place - 0.5, place + 0.5, color="#F6F6F6", zorder=0, linewidth=0)
            if estimate.value is None:
                _say_missing(axes, place, UNKNOWN if one.is_complete else "incomplete")
                continue
            known = numbers(estimate)
            _draw_dot(axes, place, known, each, style[one.label])
            seen += [*known, *each]
    first = found[0]
    first.set_yticks(range(len(drawn)), labels)
    first.set_ylim(len(drawn) - 0.5, -0.5)
    margin = 0.05 * max(max(seen) - min(seen), 0.1)
    # From 0 or the reference in every figure, to compare figures; from further left only for what is there.
    first.set_xlim(min(seen) - margin if min(seen) < 0 else 0.0, max(seen) + margin)
    first.xaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10]))
    first.xaxis.set_minor_locator(AutoMinorLocator(2))
    return figure


def _say_missing(axes: Axes, place: int, text: str) -> None:
    axes.text(
        0.5,
        place,
        text,
        transform=axes.get_yaxis_transform(),
        ha="center",
        va="center",
        fontsize=7.5,
        color=BASE_COLOUR,
    )


def _draw_dot(axes: Axes, place: int, known: Sequence[float], each: Sequence[float], look: Look) -> None:
    """Draw a value, the first number, over its interval, the others."""
    bounds = known[1:]
    axes.plot(
        bounds, [place] * len(bounds), color=look.colour, linewidth=1.5, solid_capstyle="butt", zorder=2
    )
    axes.plot(each, [place + 0.3] * len(each), "|", color=look.colour, markersize=3.5, zorder=2)
    axes.plot(
        known[0],
        place,
        look.marker,
        color=look.colour,
        markerfacecolor=look.fill,
        markersize=5,
        markeredgewidth=1.2,
        zorder=3,
        clip_on=False,
    )
