"""Tables on a terminal, in as many blocks of columns as its width asks for."""

import io
import os
import sys
import textwrap
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from reports.marks import Mark
from reports.table_model import LEGEND, Cell, Column, Table
from results.markdown import printable

_WIDTH = 100
_LABEL_WIDTH, _LEAST_LABEL = 32, 10
_LEAST_TEXT = 24
"""Characters that a column of text may be narrowed to before it goes into another block."""
# Padding of one, and one that rich puts between columns.
_GUTTER = 2
_SYMBOLS: Mapping[Mark, str] = {"best": "*", "second": "+", "tie": "≈", "": " "}
_SYMBOL_LEGEND: Mapping[Mark, str] = {
    "best": "*: the best",
    "second": "+: the second best",
    "tie": "≈: not told apart from the best",
}
_STYLES: Mapping[Mark, str] = {"best": "bold", "second": "underline"}


def terminal(
    table: Table, *, width: int | None = None, styled: bool | None = None, otherwise: int = _WIDTH
) -> str:
    """The table as text of at most `width` columns.

    The interval stands beside a number, or below it where that lets all columns fit. Where nothing does,
    columns follow in another block below the first.

    Args:
        table: what to write.
        width: of the terminal; by default COLUMNS, or as wide as the terminal is.
        styled: whether bold type may be used; by default where standard output is a terminal. Elsewhere an
            asterisk stands in its place.
        otherwise: the width where there is neither COLUMNS nor a terminal.
    """
    on_terminal = sys.stdout.isatty()
    styled = on_terminal if styled is None else styled
    if width is None:
        columns = os.environ.get("COLUMNS", "")
        width = int(columns) if columns.isdecimal() and int(columns) else otherwise
        if on_terminal:
            width = Console().width
    layouts = [_layout(table, stacked, styled) for stacked in (False, True)]
    beside, below = ([column_width for _, column_width in layout] for layout in layouts)
    label = _label_width(table, beside, below, width)
    stacked = label + sum(below) <= width < label + sum(beside) or label + max(beside, default=0) > width
    text = io.StringIO()
    console = Console(
        file=text,
        width=width,
        force_terminal=styled,
        color_system="standard" if styled else None,
        highlight=False,
    )
    headings = [heading for heading, _ in layouts[stacked]]
    for block in _blocks(list(table.columns.values()), below if stacked else beside, width - label):
        console.print(_grid(table, block, headings, label=label, stacked=stacked, styled=styled), Text())
    if caption := f"{table.caption}{table.legend(LEGEND if styled else _SYMBOL_LEGEND)}".strip():
        console.print(Text(caption))
    for note in table.notes:
        console.print(Text(f"- {printable(note)}"))
    return "\n".join(line.rstrip() for line in text.getvalue().rstrip().splitlines()) + "\n"


def wide_terminal(table: Table) -> str:
    """The table for a terminal; as wide as it takes where there is neither COLUMNS nor a terminal."""
    return terminal(table, otherwise=1000)


def _label_width(table: Table, beside: Sequence[int], below: Sequence[int], width: int) -> int:
    labels = [printable(row.label) for group in table.groups for row in group.rows]
    longest = max(cell_len(label) for label in (*labels, *(g.title for g in table.groups), table.head))
    if longest + sum(beside) <= width:
        return longest
    return min(longest, _LABEL_WIDTH, max(_LEAST_LABEL, width - max(below, default=0)))


def _blocks(columns: Sequence[Column], widths: Sequence[int], available: int) -> list[list[int]]:
    """The columns, in order, as many in a block as fit; columns of one kind stay together where they can."""
    kinds = [list(group) for _, group in groupby(range(len(columns)), key=lambda index: columns[index].kind)]
    blocks: list[list[int]] = [[]]
    for kind in kinds:
        together = sum(widths[index] for index in kind) <= available
        for part in [kind] if together else [[index] for index in kind]:
            if blocks[-1] and sum(widths[index] for index in [*blocks[-1], *part]) > available:
                blocks.append([])
            blocks[-1] += part
    return blocks


def _grid(
    table: Table, block: Sequence[int], headings: Sequence[str], *, label: int, stacked: bool, styled: bool
) -> Grid:
    columns = list(table.columns.values())
    grid = Grid(
        box=box.SIMPLE_HEAD,
        padding=(0, 0, 0, _GUTTER - 1),
        pad_edge=False,
        show_edge=False,
        show_header=bool(table.head or any(headings)),
    )
    grid.add_column(Text(table.head), width=label, overflow="fold")
    for index in block:
        column = columns[index]
        justify: Literal["left", "right"] = "left" if column.is_text else "right"
        header = Text(headings[index], justify=justify)
        grid.add_column(header, justify=justify, no_wrap=not column.is_text, overflow="fold", vertical="top")
    for group, cells in zip(table.groups, table.cells, strict=True):
        if group.title:
            grid.add_row(Text(printable(group.title), style="italic" if styled else ""))
        for row, of_row in zip(group.rows, cells, strict=True):
            shown = [_cell(of_row[index], columns[index], stacked, styled) for index in block]
            grid.add_row(Text(printable(row.label)), *shown)
        grid.add_section()
    return grid


def _heading(column: Column, widest: int) -> str:
    """On as many lines as let it be no wider than the numbers below it."""
    if column.is_text or not column.title:
        return column.heading
    if column.kind == "difference":
        lines = column.heading.split(" ", 1)
    else:
        lines = textwrap.wrap(column.heading, max(widest, *map(cell_len, column.heading.split())))
    return " \n".join(lines) + " " * column.ranked


def _cell(cell: Cell, column: Column, stacked: bool, styled: bool) -> Text:
    text = Text(cell.text, style=_STYLES.get(cell.mark, "") if styled else "")
    if column.ranked and not column.is_text:
        # A mark is as wide as a space, so that points stay below points.
        mark = " " if styled and cell.mark != "tie" else _SYMBOLS[cell.mark]
        text.append(mark, style="not bold not underline")
    if cell.interval:
        text.append(f"\n{cell.interval} " if stacked else f" {cell.interval}", style="not bold not underline")
    return text


def _layout(table: Table, stacked: bool, styled: bool) -> list[tuple[str, int]]:
    """Of each column its heading, and its width with the gutter before it; text can be narrowed."""
    layout = []
    for index, column in enumerate(table.columns.values()):
        cells = [_cell(row[index], column, stacked, styled).plain for group in table.cells for row in group]
        widest = max((cell_len(part) for text in cells for part in text.split("\n")), default=0)
        heading = _heading(column, widest - column.ranked)
        width = max(widest, *map(cell_len, heading.split("\n")))
        layout.append((heading, _GUTTER + (min(width, _LEAST_TEXT) if column.is_text else width)))
    return layout
