"""ANP against the number of tasks: a table in Markdown, and a figure with bands."""

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
from results.subsets import OverSubsets, by_tasks, over_subsets

_ASIDE = 0.5


def subsets_table(found: Sequence[OverSubsets]) -> str:
    """Return a table of methods by number of tasks, mean ANP with its interval over subsets, as Markdown."""
    sizes = sorted({one.size for one in found})
    numbers = {size: max(one.n for one in found if one.size == size) for size in sizes}
    heads = ["method", "protocol", *(f"{size} tasks (n = {numbers[size]})" for size in sizes)]
    cells: dict[tuple[str, str], dict[int, str]] = {}
    for one in found:
        text = f"{one.mean:.3f}"
        if one.interval is not None:
            text += f" [{one.interval.low:.3f}, {one.interval.high:.3f}]"
        if one.n < numbers[one.size]:
            text += f" (n = {one.n})"
        cells.setdefault((one.method, one.protocol), {})[one.size] = text
    lines = [heads, ["---"] * len(heads)]
    lines += [[*key, *(row.get(size, "—") for size in sizes)] for key, row in cells.items()]
    text = "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)
    return text + "\nMean ANP over all subsets of so many tasks, with 95 % intervals over the subsets.\n"


def performance_by_number(comparisons: Sequence[Comparison], out: Path) -> Path:
    """Draw mean ANP against the number of merged tasks, a line with a band for each method.

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
        size: max(one.n for one in found if one.size == size) for size in sorted({one.size for one in found})
    }
    names = [one.label for one in drawn]
    with rc_context(STYLE):
        figure = Figure(
            figsize=(6.0, max(3.6, 0.19 * len(drawn) + 0.8)), dpi=STYLE["savefig.dpi"], layout="constrained"
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
            # Of one number of tasks all methods stand over each other, and are moved apart.
            aside = _ASIDE * (place / len(drawn) - 0.5) if len(counts) == 1 else 0.0
            axes.plot([one.size + aside for one in line], [one.mean for one in line], zorder=3, **own.line)
            ends.append(line[-1].mean)
            banded = [(one.size, one.interval) for one in line if one.interval is not None]
            if len(banded) == 1:  # which a band would not show
                size, interval = banded[0]
                axes.plot([size + aside] * 2, [interval.low, interval.high], color=own.colour, linewidth=1.0)
            axes.fill_between(
                [size for size, _ in banded],
                [interval.low for _, interval in banded],
                [interval.high for _, interval in banded],
                color=own.colour,
                alpha=0.12,
                linewidth=0,
            )
        axes.set_xlim(min(counts) - 0.3, max(counts) + 0.3)
        axes.set_xticks(list(counts), [f"{size}\n(n = {n})" for size, n in counts.items()])
        axes.set_xlabel("number of merged tasks, and n subsets (dashed: the experts)")
        axes.set_ylabel("mean ANP (band, bar: 95 % over subsets)")
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
    for comparison in comparisons:
        counted = {one.name for one in comparison.suite.task_benchmarks} - set(comparison.left_out)
        for one in shown(comparison, base=False):
            counts.append(len(one.rows))
            n |= {name: count for row in one.rows for name, count in row.n.items() if name in counted}
    return f"{documents(n)}. {seeds(counts)}."
