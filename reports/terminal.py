"""The table of a comparison on a terminal, in as many blocks of columns as its width asks for."""

import io
import sys
from collections.abc import Sequence
from itertools import groupby

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from reports.marks import Mark
from reports.sheet import Cell, Column, Sheet

_WIDTH = 100
_LABEL_WIDTH = 32
# Padding of one, and one that rich puts between columns.
_GUTTER = 2
_MARKS: dict[Mark, str] = {"best": "*", "second": "+", "tie": "≈", "": " "}
_PLAIN: dict[Mark, str] = {
    "best": "*: the best",
    "second": "+: the second best",
    "tie": "≈: not told apart from the best",
}


def terminal_table(sheet: Sheet, *, width: int | None = None, styled: bool | None = None) -> str:
    """The sheet as text of at most `width` columns.

    The interval stands beside the average, or below it where that lets all columns fit. Where nothing does,
    columns go on in another block under the first.

    Args:
        sheet: what to show.
        width: of the terminal; by default as wide as it is, 100 where there is none.
        styled: whether bold type may be used; by default where standard output is a terminal.
    """
    on_terminal = sys.stdout.isatty()
    styled = on_terminal if styled is None else styled
    if width is None:
        width = Console().width if on_terminal else _WIDTH
    names = [line.label for group in sheet.groups for line in group]
    label = min(_LABEL_WIDTH, max(cell_len(name) for name in (*names, *sheet.titles, sheet.head)))
    beside, below = (_column_widths(sheet, stacked, styled) for stacked in (False, True))
    stacked = label + sum(below) <= width < label + sum(beside)
    text = io.StringIO()
    console = Console(
        file=text,
        width=width,
        force_terminal=styled,
        color_system="standard" if styled else None,
        highlight=False,
    )
    for block in _blocks(sheet.columns, below if stacked else beside, width - label):
        console.print(_table(sheet, block, label, stacked, styled), Text())
    console.print(Text(sheet.caption + (sheet.legend() if styled else sheet.legend(_PLAIN))))
    for note in sheet.notes:
        console.print(Text(f"- {note}"))
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


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


def _table(sheet: Sheet, block: Sequence[int], label: int, stacked: bool, styled: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0, 0, _GUTTER - 1), pad_edge=False, show_edge=False)
    table.add_column(sheet.head, width=label, overflow="fold")
    for index in block:
        header = Text(_title(sheet.columns[index]), justify="right")
        table.add_column(header, justify="right", no_wrap=True, vertical="top")
    for index, group in enumerate(sheet.groups):
        if sheet.titles and sheet.titles[index]:
            table.add_row(Text(sheet.titles[index], style="italic" if styled else ""))
        for line in group:
            cells = [_cell(line.cells[index], stacked, styled) for index in block]
            table.add_row(Text(line.label), *cells)
        table.add_section()
    return table


def _title(column: Column) -> str:
    """Two words go on two lines: the numbers under them are narrow."""
    title = f"Δ\n{column.title}" if column.is_difference else column.title.replace(" ", "\n")
    return title.replace("\n", " \n") + " "


def _cell(cell: Cell, stacked: bool, styled: bool) -> Text:
    # A mark is wide as a space, so that points stay below points.
    mark = {"tie": "≈"}.get(cell.mark, " ") if styled else _MARKS[cell.mark]
    style = {"best": "bold", "second": "underline"}.get(cell.mark, "") if styled else ""
    text = Text(cell.value, style=style)
    text.append(mark, style="not bold not underline")
    if cell.interval:
        text.append(f"\n{cell.interval} " if stacked else f" {cell.interval}", style="not bold not underline")
    return text


def _column_widths(sheet: Sheet, stacked: bool, styled: bool) -> list[int]:
    widths = []
    for index, column in enumerate(sheet.columns):
        texts = [_cell(line.cells[index], stacked, styled).plain for group in sheet.groups for line in group]
        texts.append(_title(column))
        widths.append(_GUTTER + max(cell_len(part) for text in texts for part in text.split("\n")))
    return widths
