"""The table of a comparison: average, worst task, tasks and forgetting of every checkpoint."""

from collections.abc import Mapping, Sequence

from reports.table_model import Cell, Column, Group, Table, TableRow, Value
from reports.writers import TableFormat, write
from results.comparison import Comparison, ComparisonRow, Estimate

_CAPTION = (
    "Normalised performance: 1 is the expert of the task. The average is over benchmarks, its 95 % interval "
    "over documents; gap is worst task minus average; Δ is the score minus the base's, negative where worse."
)


def render(comparison: Comparison, format: TableFormat = "terminal") -> str:  # noqa: A002 - the word of the command line
    """The table of a comparison as text; in CSV it has every number and what is known of each checkpoint.

    Raises:
        InputError: there is no such format.
    """
    return write(comparison_data(comparison) if format == "csv" else comparison_table(comparison), format)


def comparison_table(comparison: Comparison) -> Table:
    """One row for each checkpoint; the best merged value of every column stands out."""
    columns = {
        "average": Column("average", "aggregate", interval="bounds"),
        "worst_task": Column("worst task", "aggregate"),
        "gap": Column("gap", "aggregate", signed=True),
        **{f"np_{task}": Column(task) for task in comparison.suite.tasks},
        **{
            f"forgetting_{benchmark.name}": Column(benchmark.name, "difference", signed=True)
            for benchmark in comparison.suite.forgetting
        },
    }
    groups = []
    for role in ("base", "expert", "merged"):
        rows = tuple(TableRow(row.label, _values(row)) for row in comparison.rows if row.role == role)
        if rows:
            groups.append(Group(rows, rank="" if role == "merged" else None))
    return Table(columns, tuple(groups), "checkpoint", _CAPTION, _notes(comparison))


def comparison_data(comparison: Comparison) -> Table:
    """All that is known of each checkpoint.

    Tasks are np_<task>, differences to the base forgetting_<benchmark>, the scores themselves
    score_<benchmark>.
    """
    rows = tuple(TableRow(row.label, _data(comparison, row)) for row in comparison.rows)
    estimates = {"average", "worst_task", "gap", *(f"np_{task}" for task in comparison.suite.tasks)}
    columns = {name: Column(name, bounds=name in estimates) for row in rows[:1] for name in row.values}
    return Table(columns, (Group(rows),), "label")


def notes_of(rows: Sequence[ComparisonRow]) -> list[str]:
    """Every note once, with the labels of the rows that it is about unless it is about all of them."""
    labels: dict[str, list[str]] = {}
    for row in rows:
        for note in row.notes:
            labels.setdefault(note, []).append(row.label)
    return [
        note if len(about) == len(rows) else f"{', '.join(about)}: {note}" for note, about in labels.items()
    ]


def _values(row: ComparisonRow) -> dict[str, Value | Cell | str]:
    drawn = row.resampled
    values: dict[str, Value | Cell | str] = {
        "average": _value(row.average, drawn.average),
        "worst_task": _value(row.worst_task, drawn.worst_task),
        "gap": _value(row.gap, drawn.gap),
    }
    if not row.is_complete:
        values["average"] = Cell("incomplete", f"({row.complete[0]}/{row.complete[1]})", value=Value(None))
    values |= {f"np_{task}": _value(own, drawn.tasks.get(task)) for task, own in row.tasks.items()}
    return values | {
        f"forgetting_{name}": Value(number, draws=drawn.forgetting.get(name))
        for name, number in row.forgetting.items()
    }


def _value(estimate: Estimate, draws: object) -> Value:
    return Value(estimate.value, estimate.low, estimate.high, draws=draws)  # type: ignore[arg-type]


def _data(comparison: Comparison, row: ComparisonRow) -> Mapping[str, Value | Cell | str]:
    return {
        "role": row.role,
        "task": row.entry.task or "",
        "method": row.entry.method or "",
        "protocol": row.protocol,
        "seed": Value(row.seed),
        "checkpoint": row.entry.path,
        "benchmarks_scored": Value(row.complete[0]),
        "benchmarks": Value(row.complete[1]),
        "limit": Value(comparison.limit),
        **_values(row),
        **{
            f"score_{benchmark.name}": Value(row.scores.get(benchmark.name))
            for benchmark in comparison.suite.benchmarks
        },
        "notes": "; ".join(row.notes),
    }


def _notes(comparison: Comparison) -> tuple[str, ...]:
    limited = f"limited: at most {comparison.limit} documents of each lm-eval task were scored"
    return (
        *(limited,) * (comparison.limit is not None),
        *comparison.left_out.values(),
        *notes_of(comparison.rows),
    )
