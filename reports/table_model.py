"""The one model of a table, which `reports.writers` writes: columns, rows, values with their noise."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from reports.marks import Mark, marks
from results.intervals import Draws, Interval
from results.markdown import printable
from results.pooled import Pooled

UNKNOWN = "–"
LEGEND: Mapping[Mark, str] = {
    "best": "bold: the best",
    "second": "underlined: the second best",
    "tie": "≈: not told apart from the best",
}


@dataclass(frozen=True)
class Value:
    """A number of a table.

    Attributes:
        number: None where it is not known.
        low: lower bound of its 95 % interval over documents (or tasks), None without one.
        high: upper bound of the same.
        over_seeds: its 95 % interval over seeds, None without one.
        draws: its paired resamples of documents, None where there are none.
        by_seed: the values that it is the mean of (over subsets of tasks, pseudo-values by task).
    """

    number: float | None
    low: float | None = None
    high: float | None = None
    over_seeds: Interval | None = None
    draws: Draws | None = None
    by_seed: Mapping[Hashable, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Cell:
    """What a table shows in one place.

    Attributes:
        text: the number, or what stands in its place.
        interval: stands beside it in smaller type, empty where there is none.
        mark: how it ranks in its column.
        value: the number itself, None where the cell is a text.
    """

    text: str
    interval: str = ""
    mark: Mark = ""
    value: Value | None = None


@dataclass(frozen=True)
class Column:
    """A column beside the labels.

    Attributes:
        title: as it is printed.
        kind: an aggregate over tasks, a task, the difference to the base on a benchmark (its title gets a Δ),
            or text, which is aligned left.
        digits: after the decimal point.
        signed: whether a plus is printed.
        ranked: whether its best numbers are marked.
        lower: whether a lower number is better.
        interval: whether intervals are shown: by their bounds, or as a margin around the number.
        bounds: whether CSV has a column for each bound even where no number has an interval.
    """

    title: str
    kind: Literal["aggregate", "task", "difference", "text"] = "task"
    digits: int = 3
    signed: bool = False
    ranked: bool = True
    lower: bool = False
    interval: Literal["", "bounds", "margin"] = ""
    bounds: bool = False

    @property
    def is_text(self) -> bool:
        """Whether it is aligned left."""
        return self.kind == "text"

    @property
    def heading(self) -> str:
        """The title on one line, with a Δ where it is a difference."""
        return f"Δ {printable(self.title)}" if self.kind == "difference" else printable(self.title)


@dataclass(frozen=True)
class TableRow:
    """A row.

    Attributes:
        label: as it is printed.
        values: by the column's name; a column without one shows a dash.
        key: what the row is of, by which the same row of another table is found.
    """

    label: str
    values: Mapping[str, Value | Cell | str]
    key: tuple[str, ...] = ()

    def value(self, column: str) -> Value:
        """The number in a column."""
        content = self.values.get(column)
        if isinstance(content, Cell):
            return content.value or Value(None)
        return content if isinstance(content, Value) else Value(None)


@dataclass(frozen=True)
class Group:
    """Rows that belong together.

    Attributes:
        rows: in order.
        title: over them, empty where they need none.
        rank: the numbers of all groups of one rank are marked together; None: they are not marked.
    """

    rows: tuple[TableRow, ...]
    title: str = ""
    rank: str | None = ""


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        columns: by name; the labels stand before them.
        groups: of rows.
        head: over the labels.
        caption: what the numbers are.
        notes: what to print below it.
    """

    columns: Mapping[str, Column]
    groups: tuple[Group, ...]
    head: str
    caption: str = ""
    notes: tuple[str, ...] = ()

    @property
    def has_titles(self) -> bool:
        """Whether some group has one."""
        return any(group.title for group in self.groups)

    @cached_property
    def cells(self) -> tuple[tuple[tuple[Cell, ...], ...], ...]:
        """By group, row and column what is shown."""
        marked = self._marks()
        return tuple(
            tuple(
                tuple(
                    _cell(row.values.get(name, Value(None)), column, marked.get((group_at, row_at, name), ""))
                    for name, column in self.columns.items()
                )
                for row_at, row in enumerate(group.rows)
            )
            for group_at, group in enumerate(self.groups)
        )

    def legend(self, texts: Mapping[Mark, str] = LEGEND) -> str:
        """A sentence after the caption that says what the table's marks mean; empty where it has none."""
        used = {cell.mark for group in self.cells for row in group for cell in row}
        meanings = ", ".join(text for mark, text in texts.items() if mark in used)
        return f" {meanings[0].upper()}{meanings[1:]}." if meanings else ""

    def _marks(self) -> dict[tuple[int, int, str], Mark]:
        """By group, row and column."""
        marked: dict[tuple[int, int, str], Mark] = {}
        for rank in dict.fromkeys(group.rank for group in self.groups if group.rank is not None):
            ranked_rows = [
                (group_at, row_at, row)
                for group_at, group in enumerate(self.groups)
                if group.rank == rank
                for row_at, row in enumerate(group.rows)
            ]
            for name, column in self.columns.items():
                if column.ranked and not column.is_text:
                    of_column = _marks_of([row.value(name) for _, _, row in ranked_rows], column)
                    places = [(group_at, row_at, name) for group_at, row_at, _ in ranked_rows]
                    marked |= dict(zip(places, of_column, strict=True))
        return marked


def text_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """Rows of texts under headings, where there are some; the first heading is that of the labels."""
    lines = [tuple(map(str, row)) for row in rows]
    head, *titles = headings or [""] * max(map(len, lines), default=1)
    columns = {str(place): Column(title, "text") for place, title in enumerate(titles)}
    group = Group(tuple(TableRow(label, dict(zip(columns, texts, strict=True))) for label, *texts in lines))
    return Table(columns, (group,), head)


def pooled_value(pooled: Pooled, scale: float = 1.0) -> Value:
    """A mean over seeds, with its intervals over documents and over seeds."""
    if pooled.value is None:
        return Value(None)
    documents, seeds = pooled.documents, pooled.seeds
    return Value(
        scale * pooled.value,
        scale * documents.low if documents else None,
        scale * documents.high if documents else None,
        Interval(scale * seeds.low, scale * seeds.high) if seeds else None,
        None if pooled.draws is None else scale * pooled.draws,
        {seed: scale * value for seed, value in pooled.by_seed.items()},
    )


def _marks_of(values: Sequence[Value], column: Column) -> list[Mark]:
    """Marks by the numbers as they are printed, so that what looks equal is equal."""
    sign = -1.0 if column.lower else 1.0
    numbers = [
        None if value.number is None else sign * round(value.number, column.digits) for value in values
    ]
    draws = [None if value.draws is None else sign * value.draws for value in values]
    by_seed = [{seed: sign * number for seed, number in value.by_seed.items()} for value in values]
    return marks(numbers, draws, by_seed)


def _cell(content: Value | Cell | str, column: Column, mark: Mark) -> Cell:
    if isinstance(content, Cell):
        return content
    if isinstance(content, str):
        return Cell(printable(content))
    if content.number is None:
        return Cell(UNKNOWN, value=content)
    text = f"{content.number:{'+' if column.signed else ''}.{column.digits}f}"
    return Cell(text, _interval(content, column), mark, content)


def _interval(value: Value, column: Column) -> str:
    digits = max(1, column.digits - 1)
    shown = []
    if column.interval and value.low is not None and value.high is not None:
        if column.interval == "margin":
            return f"± {(value.high - value.low) / 2:.{column.digits}f}"
        shown.append(f"[{value.low:.{digits}f}, {value.high:.{digits}f}]")
    if column.interval == "bounds" and value.over_seeds is not None:
        seeds = value.over_seeds
        shown.append(f"{{{seeds.low:.{digits}f}, {seeds.high:.{digits}f}}}")
    return " ".join(shown)
