"""ANP against the number of tasks: a table in Markdown, and a figure with bands."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reports.drawing import GRID, REFERENCE, STYLE, check_suffix, save
from reports.palette import COLOURS, MARKERS
from reports.sheet import printable
from results.errors import InputError
from results.subsets import OverSubsets


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


def performance_by_number(found: Sequence[OverSubsets], out: Path) -> Path:
    """Draw mean ANP against the number of merged tasks, a line with a band for each method.

    Args:
        found: by method and number.
        out: the figure's file: .png, .pdf or .svg.

    Raises:
        InputError: another suffix, or no subset has an ANP.
    """
    check_suffix(out)
    if not found:
        raise InputError("no subset has an ANP: its experts were not scored, or score zero")
    methods = list(dict.fromkeys((one.method, one.protocol) for one in found))
    with rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.9), layout="constrained")
        axes = figure.subplots()
        axes.grid(color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.axhline(1, color=REFERENCE, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
        for index, key in enumerate(methods):
            line = sorted(
                (one for one in found if (one.method, one.protocol) == key), key=lambda one: one.size
            )
            sizes, means = [one.size for one in line], [one.mean for one in line]
            colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index // len(COLOURS) % len(MARKERS)]
            method, protocol = key
            label = method if protocol in {"", "post-hoc"} else f"{method}, {protocol}"
            axes.plot(
                sizes, means, color=colour, marker=marker, markersize=4, label=printable(label), zorder=3
            )
            banded = [one for one in line if one.interval is not None]
            axes.fill_between(
                [one.size for one in banded],
                [one.interval.low for one in banded if one.interval],
                [one.interval.high for one in banded if one.interval],
                color=colour,
                alpha=0.15,
                linewidth=0,
            )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("number of merged tasks (band: 95 % over subsets)")
        axes.set_ylabel("mean ANP")
        figure.legend(loc="outside right upper", frameon=False)
        return save(figure, out)
