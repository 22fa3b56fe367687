"""Dots: a panel for each task, or for each benchmark that watches forgetting, and a line for each method."""

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import AutoMinorLocator, MaxNLocator

from reports.colours import BASE_COLOUR
from reports.figures import figure
from reports.figures.drawing import label_below, panels, prepare, wrapped
from reports.figures.palette import Look, looks
from reports.figures.plotted_methods import PlottedMethod, basis, both_protocols, numbers, plotted_methods
from reports.table_model import UNKNOWN
from results.comparison import Comparison, Estimate
from results.errors import InputError

_PANELS_PER_LINE = 5
_LABEL = 44
"""Characters in a line of a method's name."""
_MANY = 16
"""From how many methods on the best average comes first; fewer stand in the order of the run."""

Values = Callable[[PlottedMethod, str], tuple[Estimate, Sequence[float]]]
"""Of a method and a panel: the value with its interval, and each seed's value where there are several."""


@figure("tasks", "performance by task and method, as dots")
def normalised_performance(comparison: Comparison) -> tuple[Figure, str]:
    """Dots with 95 % intervals: one panel for the average and one per task, one line per method.

    The base is grey; the dashed line at 1 is the expert of the task. Of several seeds there are small marks.
    Many methods are sorted by their average.

    Raises:
        InputError: no base and no merged checkpoint to show.
    """
    methods = plotted_methods(comparison)
    names = ["average", *comparison.counted_tasks]
    drawn = _dots(methods, names, lambda method, name: (method.estimate(name), method.of_seeds(name)), 1.0)
    label_below(drawn, f"normalised performance (dashed: the expert of the task{_hollow(methods)})")
    return drawn, basis(comparison, methods)


@figure("forgetting", "what was lost of the base")
def forgetting(comparison: Comparison) -> tuple[Figure, str]:
    """Dots with 95 % intervals: a panel per benchmark that watches forgetting, a line per method.

    The dashed line is the base.

    Raises:
        InputError: nothing was scored that watches forgetting.
    """
    methods = plotted_methods(comparison, base=False)
    names = [
        benchmark.name
        for benchmark in comparison.suite.forgetting
        if any(method.forgetting(benchmark.name)[0].value is not None for method in methods)
    ]
    if not names:
        raise InputError(
            f"run {comparison.name}: nothing to draw, because neither base nor merged checkpoint was scored "
            "on a benchmark that watches forgetting; the suite may name some under `forgetting`"
        )
    intervals = any(method.forgetting(name)[0].low is not None for method in methods for name in names)
    drawn = _dots(methods, names, PlottedMethod.forgetting, 0.0)
    label_below(drawn, f"score − score of the base (dashed; left of it: forgotten{_hollow(methods)})")
    return drawn, basis(comparison, methods, intervals=intervals, forgetting=True)


def _hollow(methods: Sequence[PlottedMethod]) -> str:
    return "; hollow: post-hoc, filled: many-shot" if both_protocols(methods) else ""


def _dots(methods: Sequence[PlottedMethod], names: Sequence[str], values: Values, reference: float) -> Figure:
    """A panel for each name with the methods from top to bottom, and a dashed line of reference."""
    style = looks(methods)
    methods = _best_first(methods) if len(methods) >= _MANY else methods
    labels = [wrapped(method.label, _LABEL) for method in methods]
    lines = [label.split("\n") for label in labels]
    columns = min(len(names), _PANELS_PER_LINE)
    height = (0.07 + 0.17 * max(map(len, lines))) * len(methods) + 0.8
    width = 0.075 * max(len(line) for label in lines for line in label) + 0.4 + 1.55 * columns
    drawn = Figure(figsize=(width, height * -(-len(names) // columns) + 0.35), layout="constrained")
    all_axes = panels(drawn, len(names), columns, sharex=True, sharey=True)
    seen = [reference]
    for axes, name in zip(all_axes, names, strict=True):
        axes.set_title(wrapped(name, 20), weight="bold" if name == "average" else "normal")
        prepare(axes, reference, along="x")
        for place, method in enumerate(methods):
            estimate, by_seed = values(method, name)
            if place % 2 == 0:
                axes.axhspan(place - 0.5, place + 0.5, color="#F6F6F6", zorder=0, linewidth=0)
            if estimate.value is None:
                _say_missing(axes, place, UNKNOWN if method.is_complete else "incomplete")
                continue
            known = numbers(estimate)
            _draw_dot(axes, place, known, by_seed, style[method.label])
            seen += [*known, *by_seed]
    first = all_axes[0]
    first.set_yticks(range(len(methods)), labels)
    first.set_ylim(len(methods) - 0.5, -0.5)
    margin = 0.05 * max(max(seen) - min(seen), 0.1)
    # From 0 or the reference in every figure, to compare figures; from further left only for what is there.
    first.set_xlim(min(seen) - margin if min(seen) < 0 else 0.0, max(seen) + margin)
    first.xaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10]))
    first.xaxis.set_minor_locator(AutoMinorLocator(2))
    return drawn


def _best_first(methods: Sequence[PlottedMethod]) -> list[PlottedMethod]:
    """The base, then the methods by their average; what has none comes last."""
    averages = {method: method.estimate("average").value for method in methods}
    return sorted(methods, key=lambda method: (not method.is_base, -(averages[method] or 0.0)))


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


def _draw_dot(axes: Axes, place: int, known: Sequence[float], by_seed: Sequence[float], look: Look) -> None:
    """Draw a value, the first number, over its interval, the others."""
    bounds = known[1:]
    axes.plot(
        bounds, [place] * len(bounds), color=look.colour, linewidth=1.5, solid_capstyle="butt", zorder=2
    )
    axes.plot(by_seed, [place + 0.3] * len(by_seed), "|", color=look.colour, markersize=3.5, zorder=2)
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
