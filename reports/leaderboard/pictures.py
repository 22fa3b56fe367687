"""Pictures of one entry: normalised performance by task, and over the rounds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.drawing import GRID, REFERENCE, STYLE, save
from reports.palette import BASE_COLOUR, COLOURS
from reports.rounds import performance_over_rounds
from reports.table_model import UNKNOWN, printable
from results.entries import Entry
from results.leaderboard import Standing
from results.pooled import Pooled

FOLDER = "pictures"
_WIDTH = 6.4


@dataclass(frozen=True)
class Picture:
    """A picture's file, from the page, and what it shows."""

    file: str
    shows: str


def draw_pictures(standing: Standing, out: Path) -> tuple[Picture, ...]:
    """Draw an entry's pictures into a folder beside the page.

    Args:
        standing: a merged checkpoint's.
        out: the page's folder.
    """
    entry = standing.entry
    tasks = Picture(f"{FOLDER}/{standing.id}-tasks.svg", "Normalised performance by task")
    performance_by_task(entry, out / tasks.file)
    labels = {row.label for row in entry.rows}
    rounds = tuple(row for row in entry.comparison.rounds if row.leads_to in labels)
    if not rounds:
        return (tasks,)
    over_rounds = Picture(f"{FOLDER}/{standing.id}-rounds.svg", "Normalised performance over the rounds")
    performance_over_rounds(replace(entry.comparison, rounds=rounds), out / over_rounds.file)
    return tasks, over_rounds


def performance_by_task(entry: Entry, out: Path) -> Path:
    """Bars with 95 % intervals over documents: the average, then every task. The dashed line is the expert.

    Args:
        entry: whose means over seeds are shown.
        out: the figure's file.
    """
    shown: dict[str, Pooled] = {"average": entry.average, **entry.tasks}
    with rc_context(STYLE):
        figure = Figure(figsize=(_WIDTH, 0.3 * len(shown) + 0.6), layout="constrained")
        axes = figure.subplots()
        axes.axvline(1, color=REFERENCE, linewidth=0.9, linestyle=(0, (4, 3)), zorder=3)
        axes.grid(axis="x", color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
        for place, one in enumerate(shown.values()):
            _bar(axes, place, one, COLOURS[0] if place == 0 else COLOURS[4])
        axes.set_yticks(range(len(shown)), [printable(name) for name in shown])
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.set_xlim(*_limits(list(shown.values())))
        axes.set_xlabel("normalised performance (dashed: the expert of the task)")
        return save(figure, out)


def _bar(axes: Axes, place: int, one: Pooled, colour: str) -> None:
    if one.value is None:
        axes.text(0.01, place, UNKNOWN, va="center", color=BASE_COLOUR)
        return
    axes.barh(place, one.value, height=0.62, color=colour, zorder=2)
    if one.documents is not None:
        axes.plot(
            [one.documents.low, one.documents.high], [place, place], color="black", linewidth=1.3, zorder=4
        )


def _limits(shown: Sequence[Pooled]) -> tuple[float, float]:
    """From zero, or what is below it, to a bit above everything, and above 1."""
    reach = [one.value for one in shown if one.value is not None]
    reach += [end for one in shown if one.documents for end in (one.documents.low, one.documents.high)]
    return min([0.0, *reach]), 1.05 * max([1.0, *reach])
