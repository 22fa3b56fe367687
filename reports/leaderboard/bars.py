"""The picture of an entry's normalised performance by task."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from reports.figures.drawing import DASHED, REFERENCE, STYLE, prepare, save
from reports.figures.palette import BASE_COLOUR, COLOURS
from reports.table_model import UNKNOWN
from results.markdown import printable
from results.pooled import Pooled

_WIDTH = 6.4


def performance_by_task(means: Mapping[str, Pooled], out: Path) -> None:
    """Draw bars with 95 % intervals over documents; the expert is a dashed line.

    Args:
        means: the average, and that of every task, by name.
        out: the file.
    """
    with rc_context(STYLE):
        drawn = Figure(figsize=(_WIDTH, 0.3 * len(means) + 0.6), layout="constrained")
        axes = drawn.subplots()
        prepare(axes, along="x")
        axes.axvline(1, color=REFERENCE, linewidth=0.9, linestyle=DASHED, zorder=3)
        reach = [0.0, 1.0]
        for place, mean in enumerate(means.values()):
            if mean.value is None:
                axes.text(0.01, place, UNKNOWN, va="center", color=BASE_COLOUR)
                continue
            colour = COLOURS[0] if place == 0 else COLOURS[4]
            axes.barh(place, mean.value, height=0.62, color=colour, zorder=2)
            interval = [mean.documents.low, mean.documents.high] if mean.documents else []
            axes.plot(interval, [place] * len(interval), color="black", linewidth=1.3, zorder=4)
            reach += [mean.value, *interval]
        axes.set_yticks(range(len(means)), [printable(name) for name in means])
        axes.set_ylim(len(means) - 0.4, -0.6)
        axes.set_xlim(min(reach), 1.05 * max(reach))
        axes.set_xlabel("normalised performance (dashed: the expert of the task)")
        save(drawn, out)
