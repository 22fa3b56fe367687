"""Figures of a search: the front between its objectives, and which numbers of the space matter."""

from itertools import combinations
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from reports.colours import BASE_COLOUR, COLOURS
from reports.figures import figure
from reports.figures.drawing import figure_of_panels, keyed, label_below, legend_above, prepare, wrapped
from results.errors import InputError
from results.search_report import SearchReport, Statistic

_PER_LINE = 3
_MOST_NUMBERS = 15
"""Of the space, in the figure of importances."""


@figure("pareto", "the front between a search's objectives, on validation and on test data", needs="search")
def pareto(report: SearchReport) -> tuple[Figure, str]:
    """A panel for every two objectives, with all candidates and the front on validation and test data.

    A thin line joins the two points of a candidate. Of the points on test data those are filled that no other
    of the front is better than there.

    Raises:
        InputError: there is one objective, so there is no front.
    """
    pairs = list(combinations(range(len(report.objectives)), 2))
    if not pairs:
        raise InputError(f"search {report.name}: one objective has no front; search by a list of several")
    drawn, all_axes = figure_of_panels([""] * len(pairs), _PER_LINE, (3.4, 3.1))
    staying = set(report.front_on_test)
    in_part = sum(trial.in_part for trial in report.trials)
    forms = {False: "candidate"} | (
        {True: "candidate, estimated from a part of the documents"} if in_part else {}
    )
    for axes, (across, up) in zip(all_axes, pairs, strict=True):
        prepare(axes)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
        axes.set_xlabel(wrapped(report.objectives[across], 40))
        axes.set_ylabel(wrapped(report.objectives[up], 34))
        for trial in report.trials:
            if trial.values and not trial.front:
                axes.plot(trial.values[across], trial.values[up], color=BASE_COLOUR, **_form(trial.in_part))
        _draw_front(axes, report, staying, across, up)
    legend_above(
        drawn,
        [
            *(Line2D([], [], label=label, color=BASE_COLOUR, **_form(part)) for part, label in forms.items()),
            Line2D([], [], label="front, on validation data", color=COLOURS[0], marker="o", markersize=5),
            _on_test("the same on test data, still of the front", COLOURS[1]),
            _on_test("no longer", "white"),
        ],
    )
    label_below(drawn, "normalised performance")
    staying_of = f"{len(staying)} of {len(report.tested)} points of the front are of it on test data too."
    return drawn, f"{_rests_on(report, in_part)} {staying_of} Lines: 95 % over test documents."


def _form(in_part: bool) -> dict[str, Any]:
    """How a candidate is drawn that was scored on a part of the documents, or on all."""
    return {"marker": "x" if in_part else ".", "markersize": 3, "markeredgewidth": 0.6, "linestyle": ""}


def _draw_front(axes: Axes, report: SearchReport, staying: set[int], across: int, up: int) -> None:
    points = sorted((trial.values[across], trial.values[up]) for trial in report.front)
    form = "o-" if len(report.objectives) == 2 else "o"  # of more, a panel is no order of the front
    axes.plot(*zip(*points, strict=True), form, color=COLOURS[0], markersize=5, linewidth=1.1, zorder=3)
    for tested in report.tested:
        _draw_tested(axes, tested.objectives[across], tested.objectives[up], stays=tested.number in staying)


def _draw_tested(axes: Axes, x: Statistic, y: Statistic, *, stays: bool) -> None:
    """Draw a point on test data over its intervals, and a line to it from the one on validation data."""
    if x.test is None or y.test is None:
        return
    axes.plot([x.validation, x.test], [y.validation, y.test], color=BASE_COLOUR, linewidth=0.6, zorder=1)
    if None not in (x.low, x.high, y.low, y.high):
        for line in (([x.low, x.high], [y.test] * 2), ([x.test] * 2, [y.low, y.high])):
            axes.plot(*line, color=COLOURS[1], linewidth=0.8, alpha=0.5, zorder=2)
    fill = COLOURS[1] if stays else "white"
    axes.plot(x.test, y.test, "D", color=COLOURS[1], markerfacecolor=fill, markersize=5, zorder=3)


def _on_test(label: str, fill: str) -> Line2D:
    return Line2D(
        [], [], label=label, color=COLOURS[1], marker="D", markersize=5, markerfacecolor=fill, linestyle=""
    )


@figure("importance", "which settings of a search matter, by functional ANOVA", needs="search")
def importance(report: SearchReport) -> tuple[Figure, str]:
    """A panel for each objective: the share of its variance over the space that each number explains.

    Raises:
        InputError: too few candidates were tried to tell.
    """
    known = {name: of for name in report.objectives if (of := report.importances.get(name))}
    if not known:
        raise InputError(
            f"search {report.name}: nothing to draw, because too few candidates were tried, or all are equal"
        )
    names = sorted(
        {name for of in known.values() for name in of},
        key=lambda name: (-max(of.get(name, 0.0) for of in known.values()), name),
    )[:_MOST_NUMBERS]
    shown, line = keyed(names, 28)
    drawn, all_axes = figure_of_panels(
        list(known), _PER_LINE, (2.4, max(1.1, 0.26 * len(names))), beside=1.6, sharey=True
    )
    for axes, of_objective in zip(all_axes, known.values(), strict=True):
        prepare(axes, along="x")
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4, steps=[2, 5, 10]))
        places = range(len(names))
        axes.barh(places, [of_objective.get(name, 0.0) for name in names], height=0.7, color=COLOURS[0])
        axes.set_yticks(list(places), shown)
    all_axes[0].set(ylim=(len(names) - 0.5, -0.5), ylabel="number of the space")
    label_below(drawn, "share of the objective's variance over the space")
    by_estimate = sum(trial.in_part or bool(trial.estimates) for trial in report.trials)
    return drawn, f"{line}{_rests_on(report, by_estimate)} Functional ANOVA over the candidates."


def _rests_on(report: SearchReport, in_part: int) -> str:
    """What the numbers on validation data rest on, so many candidates' on a part of the documents."""
    of_them = f", {in_part} of them on a part of these" if in_part else ""
    return f"n = {report.documents:,} validation documents; {len(report.trials)} candidates{of_them}. 1 seed."
