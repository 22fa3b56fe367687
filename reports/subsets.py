"""ANP against the number of tasks, a figure with bands or bars."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from reports.drawing import DASHED, GRID, REFERENCE, STYLE, check_suffix, legend_above, save
from reports.ends import can_be_named, name_ends
from reports.palette import line_handle, looks, method_handles
from reports.shown import Shown, documents, seeds, shown
from results.comparison import Comparison
from results.errors import InputError
from results.subsets import by_tasks, over_subsets

_ASIDE = 0.6
"""How wide methods that stand beside each other are spread over a number of tasks."""
_BANDS = 4
"""Most methods whose intervals are bands, which of more cover each other."""


def performance_by_number(comparisons: Sequence[Comparison], out: Path) -> Path:
    """Draw mean ANP against the number of merged tasks, a line for each method.

    Intervals are bands; of many methods, and where all stand over one number, bars beside each other.

    Args:
        comparisons: of runs, each of other tasks.
        out: the figure's file: .png, .pdf or .svg.

    Raises:
        InputError: another suffix, two runs of the same tasks, or no subset has an ANP.
    """
    check_suffix(out)
    found = over_subsets(by_tasks(comparisons))
    if not found:
        raise InputError("no subset has an ANP: its experts were not scored, or score zero")
    drawn = _methods(comparisons)
    style = looks(drawn)
    counts = {
        size: sorted({one.n for one in found if one.size == size})
        for size in sorted({one.size for one in found})
    }
    beside = len(drawn) > _BANDS or len(counts) == 1
    names = [one.label for one in drawn]
    with rc_context(STYLE):
        figure = Figure(
            figsize=(6.0, max(3.6, 0.28 * len(drawn) + 0.8)), dpi=STYLE["savefig.dpi"], layout="constrained"
        )
        axes = figure.subplots()
        axes.grid(color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.axhline(1, color=REFERENCE, linewidth=0.9, linestyle=DASHED, zorder=1)
        ends = []
        for place, method in enumerate(drawn):
            line = [one for one in found if (one.method, one.protocol) == (method.title, method.protocol)]
            line.sort(key=lambda one: one.size)
            own = style[method.label]
            aside = _ASIDE * ((place + 0.5) / len(drawn) - 0.5) if beside else 0.0
            axes.plot([one.size + aside for one in line], [one.mean for one in line], zorder=3, **own.line)
            ends.append(line[-1].mean)
            banded = [(one.size, one.interval) for one in line if one.interval is not None]
            if beside or len(banded) == 1:  # which a band would not show
                for size, interval in banded:
                    bar = [interval.low, interval.high]
                    axes.plot([size + aside] * 2, bar, color=own.colour, linewidth=1.0, alpha=0.7)
                continue
            axes.fill_between(
                [size for size, _ in banded],
                [interval.low for _, interval in banded],
                [interval.high for _, interval in banded],
                color=own.colour,
                alpha=0.12,
                linewidth=0,
            )
        margin = 0.2 + 0.5 * _ASIDE * beside
        axes.set_xlim(min(counts) - margin, max(counts) + margin)
        ticks = [
            f"{size}\n(n = {' to '.join(map(str, dict.fromkeys((n[0], n[-1]))))})"
            for size, n in counts.items()
        ]
        axes.set_xticks(list(counts), ticks)
        axes.set_xlabel("number of merged tasks, and n subsets with an ANP (dashed: the experts)")
        axes.set_ylabel(f"mean ANP ({'bars' if beside else 'bands, bars'}: 95 % over tasks)")
        if can_be_named(names) and len(counts) > 1:
            name_ends(axes, names, ends, [style[name].colour for name in names])
        else:
            legend_above(figure, method_handles(drawn, line_handle))
        return save(figure, out, _basis(comparisons))


def _methods(comparisons: Sequence[Comparison]) -> list[Shown]:
    """Every method once, as the first subset that has an ANP of it shows it."""
    found: dict[tuple[str, str], Shown] = {}
    for comparison in comparisons:
        for one in shown(comparison, base=False):
            if any(row.anp.value is not None for row in one.rows):
                found.setdefault((one.title, one.protocol), one)
    return list(found.values())


def _basis(comparisons: Sequence[Comparison]) -> str:
    n: dict[str, int] = {}
    counts = []
    left_out: dict[str, int] = {}
    for comparison in comparisons:
        counted = {one.name for one in comparison.suite.task_benchmarks} - set(comparison.left_out)
        for name in comparison.left_out:
            left_out[name] = left_out.get(name, 0) + 1
        for one in shown(comparison, base=False):
            counts.append(len(one.rows))
            n |= {name: count for row in one.rows for name, count in row.n.items() if name in counted}
    found = [f"{documents(n)}. {seeds(counts)}."]
    if left_out:
        told = ", ".join(f"{name} ({number} of {len(comparisons)} runs)" for name, number in left_out.items())
        found.append(f"Left out, as the expert is at chance: {told}.")
    without = [
        one for one in comparisons if all(row.anp.value is None for row in one.rows if row.role == "merged")
    ]
    if without:
        by_size = Counter(len(one.suite.tasks) for one in without)
        told = ", ".join(f"{number} of {size} tasks" for size, number in sorted(by_size.items()))
        found.append(f"Subsets without an ANP, not drawn: {told}.")
    return " ".join(found)
