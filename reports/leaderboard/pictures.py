"""Pictures of one entry: normalised performance by task, and over the rounds."""

from dataclasses import dataclass, replace
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from reports.figures.drawing import DASHED, REFERENCE, STYLE, prepare, save
from reports.figures.palette import BASE_COLOUR, COLOURS
from reports.figures.rounds import performance_over_rounds
from reports.table_model import UNKNOWN
from results.leaderboard import Standing
from results.leaderboard_entries import LeaderboardEntry
from results.markdown import printable
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
    with rc_context(STYLE):
        save(_performance_by_task(entry), out / tasks.file)
    labels = {row.label for row in entry.rows}
    rounds = tuple(row for row in entry.comparison.rounds if row.entry.leads_to in labels)
    if not rounds:
        return (tasks,)
    over_rounds = Picture(f"{FOLDER}/{standing.id}-rounds.svg", "Normalised performance over the rounds")
    performance_over_rounds(replace(entry.comparison, rounds=rounds), out / over_rounds.file)
    return tasks, over_rounds


def _performance_by_task(entry: LeaderboardEntry) -> Figure:
    """Bars with 95 % intervals over documents: the average, then every task; the expert is a dashed line."""
    means: dict[str, Pooled] = {"average": entry.average, **entry.tasks}
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
    return drawn
