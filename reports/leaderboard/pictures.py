"""Pictures of one entry: normalised performance by task, and over the rounds."""

from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from reports.figures.rounds import performance_over_rounds
from reports.leaderboard.bars import performance_by_task
from reports.leaderboard.drawn import Drawn
from results.comparison import Comparison
from results.leaderboard import Standing

FOLDER = "pictures"


@dataclass(frozen=True)
class Picture:
    """A picture's file, from the page, and what it shows."""

    file: str
    shows: str


def draw_pictures(standing: Standing, drawn: Drawn) -> tuple[Picture, ...]:
    """Draw an entry's pictures into the folder beside the page, where they are not there.

    Args:
        standing: a merged checkpoint's.
        drawn: the pictures of that folder.
    """
    entry = standing.entry
    tasks = Picture(f"{FOLDER}/{standing.id}-tasks.svg", "Normalised performance by task")
    means = {"average": entry.average, **entry.tasks}
    shows = [[name, mean.value, mean.documents and asdict(mean.documents)] for name, mean in means.items()]
    drawn.picture(Path(tasks.file).name, shows, partial(performance_by_task, means))
    labels = {row.label for row in entry.rows}
    rounds = tuple(row for row in entry.comparison.rounds if row.entry.leads_to in labels)
    if not rounds:
        return (tasks,)
    over_rounds = Picture(f"{FOLDER}/{standing.id}-rounds.svg", "Normalised performance over the rounds")
    comparison = replace(entry.comparison, rounds=rounds)
    drawn.picture(
        Path(over_rounds.file).name, _content(comparison), partial(performance_over_rounds, comparison)
    )
    return tasks, over_rounds


def _content(comparison: Comparison) -> object:
    """All of a comparison that a figure may show."""
    rows = [
        {**row.to_json(), "entry": row.entry.model_dump(mode="json")}
        for row in (*comparison.rows, *comparison.rounds)
    ]
    about = [comparison.name, comparison.limit, dict(comparison.left_out), dict(comparison.validation)]
    return [*about, comparison.suite.model_dump(mode="json"), *rows]
