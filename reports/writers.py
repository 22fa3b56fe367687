"""One writer of tables for each format: `write` chooses it by name."""

import csv
import html
import io
from collections.abc import Callable, Mapping
from typing import Literal

from reports.latex import latex
from reports.table_model import Cell, Table, Value
from reports.terminal import terminal
from results.errors import InputError
from results.markdown import escaped, printable

TableFormat = Literal["terminal", "markdown", "latex", "csv", "html"]
_BOUNDS = ("low", "high", "seeds_low", "seeds_high")


def write(table: Table, format: TableFormat = "terminal") -> str:  # noqa: A002 - the word of the command line
    """The table as text.

    Args:
        table: what to write.
        format: terminal; markdown; latex, which needs the package booktabs; csv, which has every number in
            full precision with the bounds of its interval; or html.

    Raises:
        InputError: there is no such format.
    """
    if format not in WRITERS:
        raise InputError(f"no table format '{format}'; there are {', '.join(WRITERS)}")
    return WRITERS[format](table)


def markdown(table: Table) -> str:
    """A pipe table with its marks, and the caption and the notes below it."""
    columns = table.columns.values()
    lines = [[escaped(table.head), *(escaped(column.heading) for column in columns)]]
    lines.append(["---", *("---" if column.is_text else "---:" for column in columns)])
    for group, cells in zip(table.groups, table.cells, strict=True):
        if group.title:
            lines.append([f"*{escaped(printable(group.title))}*", *("" for _ in columns)])
        for row, of_row in zip(group.rows, cells, strict=True):
            lines.append([escaped(printable(row.label)), *map(_markdown_cell, of_row)])
    text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    if caption := f"{table.caption}{table.legend()}".strip():
        text += "\n" + caption.replace("*", r"\*") + "\n"
    if table.notes:
        text += "\n" + "".join(f"- {escaped(printable(note))}\n" for note in table.notes)
    return text


def _markdown_cell(cell: Cell) -> str:
    text = escaped(cell.text) if cell.value is None else cell.text
    marked = {"best": f"**{text}**", "second": f"<ins>{text}</ins>", "tie": f"{text} ≈"}.get(cell.mark, text)
    return f"{marked} {cell.interval}".rstrip()


def comma_separated(table: Table) -> str:
    """One line for each row, numbers in full precision with the bounds of their intervals.

    A column X has the columns X, X_low and X_high, the latter two where some number has an interval over
    documents (or, over subsets, by tasks) or the column asks for them, and X_seeds_low and X_seeds_high where
    some has one over seeds.
    A group's title is a column too, where there are titles.
    """
    rows = [row for group in table.groups for row in group.rows]
    heads = ["group"] * table.has_titles + [table.head]
    bounds: dict[str, list[str]] = {}
    for name, column in table.columns.items():
        always = {"low", "high"} if column.bounds else set()
        known = always.union(*(_bounds(row.value(name)) for row in rows))
        bounds[name] = [bound for bound in _BOUNDS if bound in known]
        heads += [column.title, *(f"{column.title}_{bound}" for bound in bounds[name])]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heads)
    for group in table.groups:
        for row in group.rows:
            fields: list[str | float | None] = [*[group.title] * table.has_titles, row.label]
            for name, named in bounds.items():
                content, value = row.values.get(name), row.value(name)
                fields.append(content if isinstance(content, str) else value.number)
                fields += [_bounds(value).get(bound) for bound in named]
            writer.writerow(fields)
    return text.getvalue()


def _bounds(value: Value) -> dict[str, float]:
    low, high = (value.over_seeds.low, value.over_seeds.high) if value.over_seeds else (None, None)
    numbers = (value.low, value.high, low, high)
    return {bound: number for bound, number in zip(_BOUNDS, numbers, strict=True) if number is not None}


def hypertext(table: Table) -> str:
    """A `table` element with its caption, and the notes as a list below it."""
    columns = list(table.columns.values())
    lines = ["<table>", f"<caption>{_safe(table.caption + table.legend())}</caption>"]
    heads = "".join(f"<th>{_safe(title)}</th>" for title in (table.head, *(c.heading for c in columns)))
    lines.append(f"<thead><tr>{heads}</tr></thead>")
    for group, cells in zip(table.groups, table.cells, strict=True):
        lines.append("<tbody>")
        if group.title:
            lines.append(f'<tr><th colspan="{len(columns) + 1}">{_safe(group.title)}</th></tr>')
        for row, of_row in zip(group.rows, cells, strict=True):
            shown = "".join(f"<td>{_html_cell(cell)}</td>" for cell in of_row)
            lines.append(f"<tr><th>{_safe(row.label)}</th>{shown}</tr>")
        lines.append("</tbody>")
    lines.append("</table>")
    if table.notes:
        lines.append("<ul>" + "".join(f"<li>{_safe(note)}</li>" for note in table.notes) + "</ul>")
    return "\n".join(lines) + "\n"


def _html_cell(cell: Cell) -> str:
    text = _safe(cell.text)
    marked = {"best": f"<b>{text}</b>", "second": f"<u>{text}</u>", "tie": f"{text} ≈"}.get(cell.mark, text)
    return f"{marked} <small>{_safe(cell.interval)}</small>" if cell.interval else marked


def _safe(text: str) -> str:
    return html.escape(printable(text))


WRITERS: Mapping[str, Callable[[Table], str]] = {
    "terminal": terminal,
    "markdown": markdown,
    "latex": latex,
    "csv": comma_separated,
    "html": hypertext,
}
