"""The table of raw scores that `manyshot score` prints: benchmarks are rows, and checkpoints columns."""

from collections.abc import Mapping
from pathlib import Path

from reports.table_model import Column, Group, Table, TableRow, Value
from reports.terminal import wide_terminal
from results.record import Record
from results.suite import SuiteSpec


def score_table(records: Mapping[str, Mapping[str, Record]], suite: SuiteSpec | None) -> str:
    """Raw scores as text.

    Args:
        records: by checkpoint, then by benchmark.
        suite: where given, its tasks are named and its mean is shown, or how incomplete it is.
    """
    short = [Path(name).name for name in records]
    titles = short if len(set(short)) == len(short) else list(records)
    columns = {
        "task": Column("task", "text"),
        "metric": Column("metric", "text"),
        "n": Column("n", digits=0, ranked=False),
    }
    for name, title in zip(records, titles, strict=True):
        columns[f"score of {name}"] = Column(title, ranked=False)
        if any(_unfinished(record) != "0, 0" for record in records[name].values()):
            columns[f"unfinished of {name}"] = Column("cut, empty", "text")
    if suite:
        names = [benchmark.name for benchmark in suite.benchmarks]
    else:
        names = list(
            dict.fromkeys(benchmark for of_checkpoint in records.values() for benchmark in of_checkpoint)
        )
    rows = []
    for benchmark in names:
        scored = {name: of_checkpoint.get(benchmark) for name, of_checkpoint in records.items()}
        known = next((record for record in scored.values() if record), None)
        about: dict[str, Value | str] = {
            "task": suite.task_of(benchmark) or "forgetting" if suite else "",
            "metric": known.metric if known else "",
            "n": str(known.n) if known else "",
        }
        scores = {
            f"score of {name}": Value(record.value) if record else "no data"
            for name, record in scored.items()
        }
        unfinished: dict[str, Value | str] = {
            f"unfinished of {name}": _unfinished(record) if record and record.answers else ""
            for name, record in scored.items()
        }
        rows.append(TableRow(benchmark, about | scores | unfinished))
    groups = [Group(tuple(rows))]
    if suite:
        means: dict[str, Value | str] = {
            f"score of {name}": _mean(of_checkpoint, suite) for name, of_checkpoint in records.items()
        }
        about = {"task": f"{len(suite.tasks)} tasks", "metric": "", "n": ""}
        groups.append(Group((TableRow("mean", about | means),)))
    return wide_terminal(Table(columns, tuple(groups), "benchmark"))


def _unfinished(record: Record) -> str:
    """How many answers were cut at their limit of tokens, and how many are empty."""
    return f"{record.answers.get('cut', 0)}, {record.answers.get('empty', 0)}"


def _mean(scores: Mapping[str, Record], suite: SuiteSpec) -> Value | str:
    names = [benchmark.name for benchmark in suite.task_benchmarks]
    known = [scores[name].value for name in names if name in scores]
    if len(known) < len(names):
        return f"incomplete ({len(known)}/{len(names)})"
    return Value(sum(known) / len(known))
