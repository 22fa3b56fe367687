"""Average against worst task: a point per checkpoint."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reports.drawing import DASHED, GRID, REFERENCE, STYLE, check_suffix, save
from reports.palette import looks
from reports.points import Point, draw_points, name_or_list
from reports.shown import basis, limits, numbers, shown
from results.comparison import Comparison
from results.errors import InputError


def average_against_worst(comparison: Comparison, out: Path) -> Path:
    """One point per merged checkpoint and the base: its average against its worst task, with 95 % intervals.

    On the dashed diagonal the worst task is as good as the average; no point lies above it.

    Args:
        comparison: what to show. Rows without an average are named under the figure.
        out: the figure's file; its suffix says the format: .png, .pdf or .svg.

    Returns:
        `out`.

    Raises:
        InputError: another suffix, or no base and no merged checkpoint to show.
    """
    check_suffix(out)
    drawn = shown(comparison)
    known = [one for one in drawn if one.estimate("worst_task").value is not None]
    if not known:
        raise InputError(f"run {comparison.name}: nothing to draw, because no checkpoint has an average")
    style = looks(drawn)
    estimates = [one.estimate(name) for one in known for name in ("average", "worst_task")]
    with rc_context(STYLE):
        # Texts are measured as they will be drawn: at few dots per inch they are wider.
        figure = Figure(figsize=(5.6, 5.6), dpi=STYLE["savefig.dpi"], layout="constrained")
        axes = figure.subplots()
        low, high = limits(estimates)
        axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
        axes.set_xlabel("average normalised performance")
        axes.set_ylabel("normalised performance of the worst task")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=7, steps=[1, 2, 2.5, 5, 10]))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=7, steps=[1, 2, 2.5, 5, 10]))
        axes.grid(color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.plot([low, high], [low, high], color=REFERENCE, linewidth=0.9, linestyle=DASHED, zorder=1.5)
        middle = _emptiest([one.estimate("worst_task").value or 0.0 for one in known], low, high)
        axes.annotate(
            "worst task = average",
            (middle, middle),
            xytext=(-5, 5),
            textcoords="offset points",
            rotation=45,
            ha="center",
            va="center",
            fontsize=8,
            color=REFERENCE,
        )
        points = [
            Point(
                one.label,
                style[one.label],
                numbers(one.estimate("average")),
                numbers(one.estimate("worst_task")),
                list(zip(one.of_seeds("average"), one.of_seeds("worst_task"), strict=True)),
            )
            for one in known
        ]
        draw_points(axes, points)
        name_or_list([axes], [points], known, below_diagonal=True)
        footer = basis(comparison, known)
        missing = [one.label for one in drawn if one not in known]
        if missing:
            footer = f"Without an average: {', '.join(missing)}.\n{footer}"
        return save(figure, out, footer)


def _emptiest(worst: Sequence[float], low: float, high: float) -> float:
    """The place along the diagonal for its name: the first that no worst task is near to, or the best."""
    places = [low + share * (high - low) for share in (0.3, 0.15, 0.45, 0.6, 0.75, 0.88)]
    away = {place: min(abs(place - value) for value in worst) for place in places}
    return next(
        (place for place in places if away[place] > 0.08 * (high - low)), max(places, key=away.__getitem__)
    )
