"""ANP against the number of tasks, a figure with bands or bars."""

from collections import Counter
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures import figure
from reports.figures.drawing import legend_above, prepare
from reports.figures.palette import Look, line_handle, looks, method_handles
from reports.figures.plotted_methods import PlottedMethod, documents, plotted_methods, seeds
from results.comparison import Comparison
from results.errors import InputError
from results.task_subsets import OverSubsets, by_tasks, over_subsets
from results.validation import quoted

_ASIDE = 0.6
"""How wide methods that stand beside each other are spread over a number of tasks."""
_BANDS = 4
"""Most methods whose intervals are bands, which of more cover each other."""


@figure("subsets", "ANP against the number of merged tasks", needs="runs")
def performance_by_number(comparisons: Sequence[Comparison]) -> tuple[Figure, str]:
    """Mean ANP against the number of merged tasks, a line for each method, of runs each of other tasks.

    Intervals are bands; of many methods, and where all stand over one number, bars beside each other.

    Raises:
        InputError: there is one run alone, two are of the same tasks, or no subset has an ANP.
    """
    if len(comparisons) == 1:
        raise InputError(
            f"the figure subsets shows runs on several subsets of tasks, and {quoted(comparisons[0].name)} "
            "is one run; give `subsets` in the experiment, or several --run"
        )
    summaries = over_subsets(by_tasks(comparisons))
    if not summaries:
        raise InputError("no subset has an ANP: its experts were not scored, or score zero")
    methods = _methods(comparisons)
    style = looks(methods)
    counts: dict[int, set[int]] = {}
    for summary in summaries:
        counts.setdefault(summary.size, set()).add(summary.n)
    beside = len(methods) > _BANDS or len(counts) == 1
    drawn = Figure(figsize=(6.0, 3.6), layout="constrained")
    axes = drawn.subplots()
    prepare(axes, 1)
    for place, method in enumerate(methods):
        aside = _ASIDE * ((place + 0.5) / len(methods) - 0.5) if beside else 0.0
        of_method = [
            summary
            for summary in summaries
            if (summary.method, summary.protocol) == (method.title, method.protocol)
        ]
        _draw_line(
            axes, sorted(of_method, key=lambda summary: summary.size), aside, beside, style[method.label]
        )
    margin = 0.2 + 0.5 * _ASIDE * beside
    axes.set_xlim(min(counts) - margin, max(counts) + margin)
    ticks = [
        f"{size}\n(n = {' to '.join(map(str, dict.fromkeys((min(counts[size]), max(counts[size])))))})"
        for size in sorted(counts)
    ]
    axes.set_xticks(sorted(counts), ticks)
    axes.set_xlabel("number of merged tasks, and n subsets with an ANP (dashed: the experts)")
    axes.set_ylabel(f"mean ANP ({'bars' if beside else 'bands, bars'}: 95 % over tasks)")
    legend_above(drawn, method_handles(methods, line_handle))
    return drawn, _basis(comparisons)


def _draw_line(axes: Axes, line: Sequence[OverSubsets], aside: float, as_bars: bool, look: Look) -> None:
    axes.plot(
        [summary.size + aside for summary in line], [summary.mean for summary in line], zorder=3, **look.line
    )
    intervals = [(summary.size, summary.interval) for summary in line if summary.interval is not None]
    if as_bars or len(intervals) == 1:  # which a band would not show
        for size, interval in intervals:
            bar = [interval.low, interval.high]
            axes.plot([size + aside] * 2, bar, color=look.colour, linewidth=1.0, alpha=0.7)
        return
    axes.fill_between(
        [size for size, _ in intervals],
        [interval.low for _, interval in intervals],
        [interval.high for _, interval in intervals],
        color=look.colour,
        alpha=0.12,
        linewidth=0,
    )


def _methods(comparisons: Sequence[Comparison]) -> list[PlottedMethod]:
    """Every method once, as the first subset that has an ANP of it shows it."""
    methods: dict[tuple[str, str], PlottedMethod] = {}
    for comparison in comparisons:
        for method in plotted_methods(comparison, base=False):
            if any(row.anp.value is not None for row in method.rows):
                methods.setdefault((method.title, method.protocol), method)
    return list(methods.values())


def _basis(comparisons: Sequence[Comparison]) -> str:
    n: dict[str, int] = {}
    counts = []
    left_out: Counter[str] = Counter()
    for comparison in comparisons:
        counted = {benchmark.name for benchmark in comparison.suite.task_benchmarks} - set(
            comparison.left_out
        )
        left_out.update(comparison.left_out.keys())
        for method in plotted_methods(comparison, base=False):
            counts.append(len(method.rows))
            n |= {name: count for row in method.rows for name, count in row.n.items() if name in counted}
    sentences = [f"{documents(n)}. {seeds(counts)}."]
    if left_out:
        names = ", ".join(
            f"{name} ({number} of {len(comparisons)} runs)" for name, number in left_out.items()
        )
        sentences.append(f"Left out, as the expert has not learned it: {names}.")
    without = Counter(
        len(comparison.suite.tasks)
        for comparison in comparisons
        if all(row.anp.value is None for row in comparison.rows if row.role == "merged")
    )
    if without:
        by_size = ", ".join(f"{number} of {size} tasks" for size, number in sorted(without.items()))
        sentences.append(f"Subsets without an ANP, not drawn: {by_size}.")
    return " ".join(sentences)
