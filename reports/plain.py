"""Tables as text for other programs: Markdown, and CSV."""

import csv
import io
import re

from reports.sheet import Cell, Sheet
from results.comparison import Comparison, Estimate, Row

_ENDS = ("low", "high", "seeds_low", "seeds_high")


def markdown_table(sheet: Sheet) -> str:
    """A pipe table with its marks, and the caption and the notes under it."""
    titles = [f"Δ {escaped(one.title)}" if one.is_difference else escaped(one.title) for one in sheet.columns]
    lines = [[sheet.head, *titles], ["---", *("---:" for _ in titles)]]
    for index, group in enumerate(sheet.groups):
        if sheet.titles and sheet.titles[index]:
            lines.append([f"*{escaped(sheet.titles[index])}*", *("" for _ in titles)])
        for line in group:
            lines.append([escaped(line.label), *(_markdown_cell(cell) for cell in line.cells)])
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return (
        f"{table}\n{sheet.caption}{sheet.legend()}\n"
        + "".join(f"\n- {escaped(note)}" for note in sheet.notes)
        + "\n" * bool(sheet.notes)
    )


def csv_sheet(sheet: Sheet) -> str:
    """One line per row of a sheet, numbers in full precision with the ends of their intervals.

    A column X has the columns X, X_low and X_high, the latter two where some number has an interval over
    documents (or, over subsets, by tasks), and X_seeds_low and X_seeds_high where some has one over seeds.
    """
    cells = [line.cells for group in sheet.groups for line in group]
    ends = [
        [name for name in _ENDS if any(getattr(row[index], name) is not None for row in cells)]
        for index in range(len(sheet.columns))
    ]
    heads = ["group"] * bool(sheet.titles) + [sheet.head]
    for column, names in zip(sheet.columns, ends, strict=True):
        heads += [column.title, *(f"{column.title}_{name}" for name in names)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heads)
    for index, group in enumerate(sheet.groups):
        for line in group:
            fields: list[str | float | None] = [sheet.titles[index]] if sheet.titles else []
            fields.append(line.label)
            for cell, names in zip(line.cells, ends, strict=True):
                fields += [cell.number, *(getattr(cell, name) for name in names)]
            writer.writerow(fields)
    return text.getvalue()


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
    value = {
        "best": f"**{cell.value}**",
        "second": f"<ins>{cell.value}</ins>",
        "tie": f"{cell.value} ≈",
    }.get(cell.mark, cell.value)
    return f"{value} {cell.interval}".rstrip()
