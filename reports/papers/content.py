"""What a paper's table says, whoever measured it, before it is laid out: rows of values by column."""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from reports.marks import Mark, marks
from reports.sheet import UNKNOWN, Cell, Column, Line, Sheet, printable
from results.bootstrap import Draws, Interval
from results.errors import InputError
from results.pooled import Pooled


@dataclass(frozen=True)
class Value:
    """A number of a table.

    Attributes:
        number: None where it is not known.
        low: end of its 95 % interval over documents (or tasks), None without one.
        high: end of the same.
        over_seeds: its 95 % interval over seeds, None without one.
        draws: its paired resamples of documents, None where there are none.
        each: what it is the mean of, by seed (or, over subsets of tasks, pseudo-values by task).
    """

    number: float | None
    low: float | None = None
    high: float | None = None
    over_seeds: Interval | None = None
    draws: Draws | None = None
    each: Mapping[Hashable, float] = field(default_factory=dict)


@dataclass(frozen=True)
class TableColumn:
    """A column.

    Attributes:
        title: as it is printed.
        digits: after the point.
        signed: whether a plus is printed.
        ranked: whether its best numbers are marked.
        lower: whether a lower number is better.
        interval: whether intervals are shown, by their ends or as a margin around the number.
    """

    title: str
    digits: int = 3
    signed: bool = False
    ranked: bool = True
    lower: bool = False
    interval: Literal["", "ends", "margin"] = ""


@dataclass(frozen=True)
class TableRow:
    """A row: what it is, how it is called, and its values by column."""

    key: tuple[str, ...]
    label: str
    values: Mapping[str, Value]


@dataclass(frozen=True)
class TableBlock:
    """Rows under a title; blocks of one rank are marked together."""

    title: str
    rows: tuple[TableRow, ...]
    rank: str = ""


@dataclass(frozen=True)
class Content:
    """A table: columns by name, blocks of rows, what to say of it."""

    columns: Mapping[str, TableColumn]
    blocks: tuple[TableBlock, ...]
    head: str
    caption: str
    notes: tuple[str, ...] = field(default=())


def of_pooled(found: Pooled, scale: float = 1.0) -> Value:
    """What was pooled over seeds, with its intervals over documents and over seeds."""
    if found.value is None:
        return Value(None)
    documents, seeds = found.documents, found.seeds
    return Value(
        scale * found.value,
        scale * documents.low if documents else None,
        scale * documents.high if documents else None,
        Interval(scale * seeds.low, scale * seeds.high) if seeds else None,
        None if found.draws is None else scale * found.draws,
        {seed: scale * value for seed, value in found.by_seed.items()},
    )


def beside(ours: Content, paper: Content) -> Content:
    """Both tables in one: of every column that both have ours, the paper's, and the difference.

    Rows of the paper stand beside ours of the same key; a key that only one of them has is shown without the
    other's values.
    """
    columns: dict[str, TableColumn] = {}
    for name, column in ours.columns.items():
        columns[name] = replace(column, title=f"{column.title}, ours")
        if name in paper.columns:
            columns[f"{name} paper"] = replace(
                paper.columns[name], title=f"{column.title}, paper", ranked=False, interval=""
            )
            columns[f"{name} difference"] = TableColumn(
                f"{column.title}, difference", column.digits, signed=True, ranked=False
            )
    printed = {row.key: row for block in paper.blocks for row in block.rows}
    found = {row.key for block in ours.blocks for row in block.rows}
    # An average is compared only with one over the same rows.
    uneven = {
        key
        for key in found & set(printed)
        if key[-1] == "average"
        and {one for one in found if one[:-1] == key[:-1]} != {one for one in printed if one[:-1] == key[:-1]}
    }
    blocks = [
        replace(
            block,
            rows=tuple(
                _with_paper(row, printed.get(row.key), differ=row.key not in uneven) for row in block.rows
            ),
        )
        for block in ours.blocks
    ]
    for block in paper.blocks:
        alone = tuple(
            replace(row, values={f"{name} paper": value for name, value in row.values.items()})
            for row in block.rows
            if row.key not in found
        )
        if alone:
            title = f"{block.title}, only in the paper" if block.title else "only in the paper"
            blocks.append(TableBlock(title, alone, rank=title))
    notes = tuple(dict.fromkeys([*ours.notes, *paper.notes]))
    return Content(columns, tuple(blocks), ours.head, f"{ours.caption} Paper: {paper.caption}", notes)


def _with_paper(row: TableRow, printed: TableRow | None, *, differ: bool) -> TableRow:
    if printed is None:
        return row
    values = dict(row.values)
    for name, value in printed.values.items():
        own = row.values.get(name, Value(None)).number
        values[f"{name} paper"] = value
        if differ and own is not None and value.number is not None:
            values[f"{name} difference"] = Value(own - value.number)
    return replace(row, values=values)


def to_sheet(content: Content) -> Sheet:
    """Lay out a table, the best numbers of each rank marked.

    Raises:
        InputError: it has no columns, or no rows.
    """
    found: dict[tuple[int, int, str], Mark] = {}
    for rank in dict.fromkeys(block.rank for block in content.blocks):
        places = [
            (at, line, row)
            for at, block in enumerate(content.blocks)
            if block.rank == rank
            for line, row in enumerate(block.rows)
        ]
        for name, column in content.columns.items():
            if column.ranked:
                marked = _marks([row.values.get(name, Value(None)) for _, _, row in places], column)
                found |= {(at, line, name): mark for (at, line, _), mark in zip(places, marked, strict=True)}
    if not content.columns or not any(block.rows for block in content.blocks):
        raise InputError("there is nothing to show: the runs have none of what this table is of")
    groups = tuple(
        tuple(
            Line(
                printable(row.label),
                tuple(
                    _cell(row.values.get(name, Value(None)), column, found.get((at, line, name), ""))
                    for name, column in content.columns.items()
                ),
            )
            for line, row in enumerate(block.rows)
        )
        for at, block in enumerate(content.blocks)
    )
    titles = tuple(printable(block.title) for block in content.blocks)
    return Sheet(
        tuple(Column(printable(column.title), "task") for column in content.columns.values()),
        groups,
        tuple(map(printable, content.notes)),
        titles if any(titles) else (),
        content.head,
        content.caption + _brackets(content),
    )


def _brackets(content: Content) -> str:
    """What the brackets are, where numbers have an interval over seeds."""
    values = [
        value
        for block in content.blocks
        for row in block.rows
        for name, value in row.values.items()
        if name in content.columns and content.columns[name].interval == "ends"
    ]
    said = " [ ]: 95 % over documents." * any(one.draws is not None and one.low is not None for one in values)
    return said + " { }: 95 % over seeds." * any(one.over_seeds is not None for one in values)


def _marks(values: Iterable[Value], column: TableColumn) -> list[Mark]:
    listed = list(values)
    sign = -1.0 if column.lower else 1.0
    numbers = [
        None if value.number is None else sign * round(value.number, column.digits) for value in listed
    ]
    draws = [None if value.draws is None else sign * value.draws for value in listed]
    return marks(numbers, draws, [{key: sign * one for key, one in value.each.items()} for value in listed])


def _cell(value: Value, column: TableColumn, mark: Mark) -> Cell:
    if value.number is None:
        return Cell(UNKNOWN)
    text = f"{value.number:{'+' if column.signed else ''}.{column.digits}f}"
    interval = ""
    digits = max(1, column.digits - 1)
    if value.low is not None and value.high is not None:
        interval = {
            "": "",
            "ends": f"[{value.low:.{digits}f}, {value.high:.{digits}f}]",
            "margin": f"± {(value.high - value.low) / 2:.{column.digits}f}",
        }[column.interval]
    if column.interval == "ends" and value.over_seeds is not None:
        seeds = value.over_seeds
        interval = f"{interval} {{{seeds.low:.{digits}f}, {seeds.high:.{digits}f}}}".lstrip()
    seeds_ends = (value.over_seeds.low, value.over_seeds.high) if value.over_seeds else (None, None)
    return Cell(text, interval, mark, value.number, value.low, value.high, *seeds_ends)


def sizes(counts: Mapping[str, Iterable[int]], seeds: Iterable[int]) -> str:
    """A sentence on how many documents and seeds numbers rest on."""
    each = {name: sorted(set(found)) for name, found in counts.items()}
    documents = ", ".join(f"{name} {' or '.join(map(str, found))}" for name, found in each.items() if found)
    number = sorted(set(seeds))
    of_seeds = " or ".join(map(str, number)) or "no"
    return f"n: {documents or 'unknown'}; {of_seeds} {'seed' if number == [1] else 'seeds'}"
