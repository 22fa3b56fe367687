"""Tables as text for other programs: Markdown, LaTeX, CSV."""

import csv
import io
import re

from reports.sheet import CAPTION, Cell, Column, Sheet
from results.comparison import Comparison, Estimate, Row

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "–": "--",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def markdown_table(sheet: Sheet) -> str:
    """A pipe table, the best merged values bold, with the caption and the notes under it."""
    titles = [f"Δ {escaped(one.title)}" if one.is_difference else escaped(one.title) for one in sheet.columns]
    lines = [["checkpoint", *titles], ["---", *("---:" for _ in titles)]]
    for group in sheet.groups:
        for line in group:
            lines.append([escaped(line.label), *(_markdown_cell(cell) for cell in line.cells)])
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return (
        f"{table}\n{CAPTION}\n"
        + "".join(f"\n- {escaped(note)}" for note in sheet.notes)
        + "\n" * bool(sheet.notes)
    )


def latex_table(sheet: Sheet) -> str:
    r"""A `tabular` with booktabs rules, best merged values bold, caption and notes as comments above it."""
    lines = [f"% {_latex(text)}" for text in (CAPTION.replace("Δ", "Delta"), *sheet.notes)]
    lines += [rf"\begin{{tabular}}{{l{'r' * len(sheet.columns)}}}", r"\toprule"]
    lines.append(rf"checkpoint & {' & '.join(_latex_title(column) for column in sheet.columns)} \\")
    for group in sheet.groups:
        lines.append(r"\midrule")
        for line in group:
            lines.append(rf"{_latex(line.label)} & {' & '.join(_latex_cell(cell) for cell in line.cells)} \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def csv_table(comparison: Comparison) -> str:
    """One line per checkpoint, numbers in full precision, an empty field where one is not known.

    An aggregate X has columns X, X_low and X_high. Tasks are np_<task>, differences to the base
    forgetting_<benchmark>, the scores themselves score_<benchmark>.
    """
    text = io.StringIO()
    rows = [_csv_row(comparison, row) for row in comparison.rows]
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _csv_row(comparison: Comparison, row: Row) -> dict[str, str | int | float | None]:
    fields: dict[str, str | int | float | None] = {
        "label": row.label,
        "role": row.role,
        "task": row.task,
        "method": row.method,
        "protocol": row.protocol,
        "seed": row.seed,
        "checkpoint": row.checkpoint,
        "benchmarks_scored": row.complete[0],
        "benchmarks": row.complete[1],
        "limit": comparison.limit,
    }
    estimates: dict[str, Estimate] = {"average": row.average, "worst_task": row.worst_task, "gap": row.gap}
    estimates |= {f"np_{task}": estimate for task, estimate in row.tasks.items()}
    for name, estimate in estimates.items():
        fields |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    fields |= {f"forgetting_{name}": value for name, value in row.forgetting.items()}
    fields |= {f"score_{one.name}": row.scores.get(one.name) for one in comparison.suite.benchmarks}
    return {**fields, "notes": "; ".join(row.notes)}


def escaped(text: str) -> str:
    """The text with everything that Markdown or HTML would read as more than text made harmless."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~&$])", r"\\\1", text)


def _markdown_cell(cell: Cell) -> str:
    value = f"**{cell.value}**" if cell.best else cell.value
    return f"{value} {cell.interval}".rstrip()


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)


def _latex_title(column: Column) -> str:
    return rf"$\Delta$ {_latex(column.title)}" if column.is_difference else _latex(column.title)


def _latex_cell(cell: Cell) -> str:
    value = _latex(cell.value)
    if value[0] in "+-" and value != "--":
        value = f"${value[0]}${value[1:]}"
    value = rf"\textbf{{{value}}}" if cell.best else value
    return rf"{value} {{\scriptsize {cell.interval}}}" if cell.interval else value
