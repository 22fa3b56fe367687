"""What a table of a comparison says, before it is laid out for a terminal, a page or a paper."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from reports.marks import Mark, marks
from results.bootstrap import Draws
from results.comparison import Comparison, Row

UNKNOWN = "–"
CAPTION = (
    "Normalised performance: 1 is the expert of the task. The average is over benchmarks, its 95 % interval "
    "over documents; gap is worst task minus average; Δ is the score minus the base's, negative where worse."
)

LEGEND: Mapping[Mark, str] = {
    "best": "bold: the best",
    "second": "underlined: the second best",
    "tie": "≈: not told apart from the best",
}


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
        mark: how it stands among its column's.
        number: in full precision, None where it is not known.
        low: end of its interval, None where there is none.
        high: end of its interval, None where there is none.
        seeds_low: end of its interval over seeds, where that is one of its own.
        seeds_high: end of the same.
    """

    value: str
    interval: str = ""
    mark: Mark = ""
    number: float | None = None
    low: float | None = None
    high: float | None = None
    seeds_low: float | None = None
    seeds_high: float | None = None


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
        groups: of lines that belong together, such as base, experts and merged checkpoints.
        notes: what to print under it.
        titles: of the groups; none where they need none.
        head: of the labels' column.
        caption: what the numbers are.
    """

    columns: tuple[Column, ...]
    groups: tuple[tuple[Line, ...], ...]
    notes: tuple[str, ...]
    titles: tuple[str, ...] = ()
    head: str = "checkpoint"
    caption: str = CAPTION

    @property
    def marks(self) -> set[Mark]:
        """The marks that some number has."""
        return {cell.mark for group in self.groups for line in group for cell in line.cells if cell.mark}

    def legend(self, texts: Mapping[Mark, str] = LEGEND) -> str:
        """A sentence after the caption that says what the sheet's marks mean; empty where it has none."""
        said = ", ".join(text for mark, text in texts.items() if mark in self.marks)
        return f" {said[0].upper()}{said[1:]}." if said else ""


def make_sheet(comparison: Comparison) -> Sheet:
    """Lay out a comparison: one line per checkpoint; average, worst task, gap, tasks, forgetting."""
    suite = comparison.suite
    columns = [Column(title, "aggregate") for title in ("average", "worst task", "gap")]
    columns += [Column(printable(task), "task") for task in suite.tasks]
    columns += [Column(printable(benchmark.name), "difference") for benchmark in suite.forgetting]
    groups = []
    for role in ("base", "expert", "merged"):
        rows = [row for row in comparison.rows if row.role == role]
        unmarked: list[list[Mark]] = [[""] * len(columns)] * len(rows)
        found = _marked(rows) if role == "merged" else unmarked
        if rows:
            groups.append(tuple(_line(row, own) for row, own in zip(rows, found, strict=True)))
    return Sheet(tuple(columns), tuple(groups), _notes(comparison))


def printable(text: str) -> str:
    """The text on one line, without control characters: names come from users."""
    return "".join(character if character.isprintable() else " " for character in text)


def _numbers(row: Row) -> list[float | None]:
    tasks = [estimate.value for estimate in row.tasks.values()]
    return [row.average.value, row.worst_task.value, row.gap.value, *tasks, *row.forgetting.values()]


def rounded(number: float | None, digits: int = 3) -> float | None:
    """The number as a table rounds it, so that what looks equal is equal."""
    return None if number is None else round(number, digits)


def _draws(row: Row) -> list[Draws | None]:
    """The resamples of each of `_numbers`, None where there are none."""
    drawn = row.resampled
    of_tasks = [drawn.tasks.get(task) for task in row.tasks]
    return [drawn.average, drawn.worst_task, drawn.gap, *of_tasks, *map(drawn.forgetting.get, row.forgetting)]


def _marked(rows: Sequence[Row]) -> list[list[Mark]]:
    """The marks of each row's numbers."""
    numbers = zip(*([rounded(number) for number in _numbers(row)] for row in rows), strict=True)
    draws = zip(*map(_draws, rows), strict=True)
    columns = [marks(column, drawn) for column, drawn in zip(numbers, draws, strict=True)]
    return [list(row) for row in zip(*columns, strict=True)]


def _line(row: Row, found: Sequence[Mark]) -> Line:
    signed = [False, False, True, *(False for _ in row.tasks), *(True for _ in row.forgetting)]
    cells = [
        Cell(
            UNKNOWN if number is None else f"{number:+.3f}" if sign else f"{number:.3f}",
            mark=mark,
            number=number,
        )
        for number, sign, mark in zip(_numbers(row), signed, found, strict=True)
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
