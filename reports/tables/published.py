"""Papers' tables: as they are printed, and beside our own."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from reports.table_model import Column, Group, Table, TableRow, Value
from results.published import SOURCES, published_rows
from results.published.disagreements import disagreements


def published_table(
    paper: str,
    name: str,
    columns: Mapping[str, Column],
    caption: str,
    make_row: Callable[[Mapping[str, str]], TableRow],
    *,
    grouped_by: tuple[str, ...] = (),
    head: str = "method",
) -> Table:
    """A table as a paper prints it, with its own contradictions as notes.

    Args:
        paper: metis or divmerge.
        name: of the published table.
        columns: of the table that is made.
        caption: what the numbers are.
        make_row: of a row of the published table.
        grouped_by: columns of the published table whose values make a group, and its title; groups of the
            same first value are marked together.
        head: over the labels.
    """
    groups: dict[tuple[str, ...], list[TableRow]] = {}
    for row in published_rows(name):
        groups.setdefault(tuple(row[column] for column in grouped_by), []).append(make_row(row))
    return Table(
        columns,
        tuple(Group(tuple(rows), ", ".join(key), key[0] if key else "") for key, rows in groups.items()),
        head,
        f"{caption} As printed in {SOURCES[paper]}.",
        tuple(disagreement.text for disagreement in disagreements(name)),
    )


def documents_and_seeds(counts: Mapping[str, Iterable[int]], seeds: Iterable[int]) -> str:
    """A sentence on how many documents and seeds numbers rest on."""
    numbers = {name: " or ".join(map(str, sorted(set(of_name)))) for name, of_name in counts.items()}
    documents = ", ".join(f"{name} {number}" for name, number in numbers.items() if number)
    several = sorted(set(seeds))
    of_seeds = " or ".join(map(str, several)) or "no"
    return f"n: {documents or 'unknown'}; {of_seeds} {'seed' if several == [1] else 'seeds'}"


def beside(ours: Table, paper: Table) -> Table:
    """Both tables in one: of every column that both have ours, the paper's, and the difference.

    Rows of the paper stand beside ours of the same key; a key that only one of them has is shown without the
    other's values.
    """
    columns: dict[str, Column] = {}
    for name, column in ours.columns.items():
        columns[name] = replace(column, title=f"{column.title}, ours")
        if name in paper.columns:
            columns[f"{name} paper"] = replace(
                paper.columns[name], title=f"{column.title}, paper", ranked=False, interval=""
            )
            columns[f"{name} difference"] = Column(
                f"{column.title}, difference", digits=column.digits, signed=True, ranked=False
            )
    printed = {row.key: row for group in paper.groups for row in group.rows}
    measured = {row.key for group in ours.groups for row in group.rows}
    # An average is compared only with one over the same rows.
    uneven = {
        key
        for key in measured & set(printed)
        if key[-1] == "average" and _siblings(key, measured) != _siblings(key, set(printed))
    }
    groups = [
        replace(
            group,
            rows=tuple(_with_paper(row, printed.get(row.key), row.key not in uneven) for row in group.rows),
        )
        for group in ours.groups
    ]
    for group in paper.groups:
        alone = tuple(
            replace(row, values={f"{name} paper": value for name, value in row.values.items()})
            for row in group.rows
            if row.key not in measured
        )
        if alone:
            title = f"{group.title}, only in the paper" if group.title else "only in the paper"
            groups.append(Group(alone, title, rank=title))
    notes = tuple(dict.fromkeys([*ours.notes, *paper.notes]))
    return Table(columns, tuple(groups), ours.head, f"{ours.caption} Paper: {paper.caption}", notes)


def _siblings(key: tuple[str, ...], keys: set[tuple[str, ...]]) -> set[tuple[str, ...]]:
    return {other for other in keys if other[:-1] == key[:-1]}


def _with_paper(row: TableRow, printed: TableRow | None, has_difference: bool) -> TableRow:
    if printed is None:
        return row
    values = dict(row.values)
    for name, content in printed.values.items():
        own, theirs = row.value(name).number, printed.value(name).number
        values[f"{name} paper"] = content
        if has_difference and own is not None and theirs is not None:
            values[f"{name} difference"] = Value(own - theirs)
    return replace(row, values=values)
