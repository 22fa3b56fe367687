"""The table of a comparison: for a terminal, in Markdown, in LaTeX (booktabs), or as CSV."""

from typing import Literal, get_args

from reports.latex import latex_table
from reports.plain import csv_sheet, csv_table, markdown_table
from reports.sheet import Sheet, make_sheet
from reports.terminal import terminal_table
from results.comparison import Comparison
from results.errors import InputError

Format = Literal["terminal", "markdown", "latex", "csv"]


def render(
    comparison: Comparison,
    format: Format = "terminal",  # noqa: A002 - the word of the command line
    *,
    width: int | None = None,
    styled: bool | None = None,
) -> str:
    """The table as text.

    Args:
        comparison: what to show. Base, experts and merged checkpoints are rows; the best merged value of
            every column stands out.
        format: terminal, markdown, latex (needs the package booktabs), or csv, which has every number in
            full precision with the bounds of its interval.
        width: of the terminal, in columns; by default as wide as it is, 100 where there is none.
        styled: whether the terminal table may use bold type; by default where standard output is a terminal.
            Elsewhere an asterisk stands in its place.

    Raises:
        InputError: there is no such format.
    """
    if format == "csv":
        return csv_table(comparison)
    return render_sheet(make_sheet(comparison), format, width=width, styled=styled)


def render_sheet(
    sheet: Sheet,
    format: Format = "terminal",  # noqa: A002 - the word of the command line
    *,
    width: int | None = None,
    styled: bool | None = None,
) -> str:
    """Any table as text, as `render` does it.

    Raises:
        InputError: there is no such format.
    """
    if format == "terminal":
        return terminal_table(sheet, width=width, styled=styled)
    if format == "markdown":
        return markdown_table(sheet)
    if format == "latex":
        return latex_table(sheet)
    if format == "csv":
        return csv_sheet(sheet)
    raise InputError(f"no table format '{format}'; there are {', '.join(get_args(Format))}")
