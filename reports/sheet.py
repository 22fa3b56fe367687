"""What a table of a comparison says, before it is laid out for a terminal, a page or a paper."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from results.comparison import Comparison, Row

UNKNOWN = "–"
CAPTION = (
    "Normalised performance: 1 is the expert of the task. The average is over benchmarks, its 95 % interval "
    "over documents; gap is worst task minus average; Δ is the score minus the base's, negative where worse."
)


@dataclass(frozen=True)
class Column:
    """A column of numbers.

    Attributes:
        title: what it shows.
        kind: an aggregate over tasks, a task, or the difference to the base on a benchmark.
    """

    title: str
    kind: Literal["aggregate", "task", "difference"]

    @property
    def is_difference(self) -> bool:
        """Whether the title asks for a Δ."""
        return self.kind == "difference"


@dataclass(frozen=True)
class Cell:
    """One number as text.

    Attributes:
        value: the number, or what stands in its place.
        interval: its interval, empty where none is shown.
        best: whether no merged checkpoint has a higher number in the column.
    """

    value: str
    interval: str = ""
    best: bool = False


@dataclass(frozen=True)
class Line:
    """One checkpoint: its label and its cells, one per column."""

    label: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Sheet:
    """A table.

    Attributes:
        columns: of numbers; the labels stand before them.
        groups: base, experts and merged checkpoints, those that there are.
        notes: what to print under it.
    """

    columns: tuple[Column, ...]
    groups: tuple[tuple[Line, ...], ...]
    notes: tuple[str, ...]


def make_sheet(comparison: Comparison) -> Sheet:
    """Lay out a comparison: one line per checkpoint; average, worst task, gap, tasks, forgetting."""
    suite = comparison.suite
    columns = [Column(title, "aggregate") for title in ("average", "worst task", "gap")]
    columns += [Column(printable(task), "task") for task in suite.tasks]
    columns += [Column(printable(benchmark.name), "difference") for benchmark in suite.forgetting]
    merged = [[_shown(number) for number in _numbers(row)] for row in comparison.rows if row.role == "merged"]
    best = [
        max((one for one in column if one is not None), default=None) for column in zip(*merged, strict=True)
    ]
    groups = []
    for role in ("base", "expert", "merged"):
        rows = [row for row in comparison.rows if row.role == role]
        if rows:
            groups.append(
                tuple(_line(row, best if role == "merged" else [None] * len(columns)) for row in rows)
            )
    return Sheet(tuple(columns), tuple(groups), _notes(comparison))


def printable(text: str) -> str:
    """The text on one line, without control characters: names come from users."""
    return "".join(character if character.isprintable() else " " for character in text)


def _numbers(row: Row) -> list[float | None]:
    tasks = [estimate.value for estimate in row.tasks.values()]
    return [row.average.value, row.worst_task.value, row.gap.value, *tasks, *row.forgetting.values()]


def _shown(number: float | None) -> float | None:
    """The number as the table rounds it, so that what looks equal is equal."""
    return None if number is None else round(number, 3)


def _line(row: Row, best: Sequence[float | None]) -> Line:
    signed = [False, False, True, *(False for _ in row.tasks), *(True for _ in row.forgetting)]
    cells = [
        Cell(
            UNKNOWN if number is None else f"{number:+.3f}" if sign else f"{number:.3f}",
            best=number is not None and _shown(number) == highest,
        )
        for number, sign, highest in zip(_numbers(row), signed, best, strict=True)
    ]
    average = row.average
    if average.low is not None and average.high is not None:
        cells[0] = replace(cells[0], interval=f"[{average.low:.2f}, {average.high:.2f}]")
    if not row.is_complete:
        cells[0] = Cell("incomplete", f"({row.complete[0]}/{row.complete[1]})")
    return Line(printable(row.label), tuple(cells))


def _notes(comparison: Comparison) -> tuple[str, ...]:
    """Every note once, with the labels of the rows that it is about unless it is about all of them."""
    rows = comparison.rows
    limited = f"limited: at most {comparison.limit} documents of each lm-eval task were scored"
    labels: dict[str, list[str]] = {}
    for row in rows:
        for note in row.notes:
            labels.setdefault(note, []).append(row.label)
    return (
        (limited,) * (comparison.limit is not None)
        + tuple(map(printable, comparison.left_out.values()))
        + tuple(
            printable(note if len(about) == len(rows) else f"{', '.join(about)}: {note}")
            for note, about in labels.items()
        )
    )
