"""METIS's tables (arXiv 2606.16501): performance, worst task, forgetting, ablation."""

from collections.abc import Mapping, Sequence

from reports.papers.content import (
    Content,
    TableBlock,
    TableColumn,
    TableRow,
    Value,
    of_pooled,
    sizes,
)
from results.comparison import Comparison
from results.pooled import Merged, merged_methods, pooled_difference, pooled_scores
from results.published import SOURCES, published_rows
from results.published.disagreements import METIS_TASKS, disagreements

PROTOCOLS = ("post-hoc", "many-shot")
Backbones = Mapping[str, Comparison]
"""Runs by the name of their backbone."""
_NP = "Normalised performance: a score over that of the task's own expert."


def performance(runs: Backbones) -> Content:
    """Average and task performance of every method, a block for each backbone and protocol."""
    tasks = _tasks(runs)
    columns = {"average": TableColumn("average", interval="ends")} | {
        task: TableColumn(task) for task in tasks
    }
    blocks = []
    for backbone, run in runs.items():
        for protocol in dict.fromkeys([*PROTOCOLS, *(one.protocol for one in merged_methods(run))]):
            methods = [one for one in merged_methods(run) if one.protocol == protocol]
            rows = tuple(_row(backbone, one, _performance(one, run, tasks)) for one in methods)
            if rows:
                blocks.append(TableBlock(f"{backbone}, {protocol or 'merged'}", rows, rank=backbone))
    return Content(columns, tuple(blocks), "method", f"{_NP} The average is over benchmarks.", _notes(runs))


def published_performance() -> Content:
    """The same as the paper prints it."""
    columns = {name: TableColumn(name) for name in ("average", *METIS_TASKS)}
    blocks = [
        TableBlock(f"{backbone}, {protocol}", _published_rows(rows, columns, protocol), rank=backbone)
        for (backbone, protocol), rows in _grouped("metis_normalized_performance", "backbone", "protocol")
    ]
    return _published("metis_normalized_performance", columns, blocks, _NP)


def worst_task(runs: Backbones) -> Content:
    """Average, worst task and the gap between them, of every method under every protocol."""
    columns = {
        "average": TableColumn("average", interval="ends"),
        "worst_task": TableColumn("worst task", interval="ends"),
        "gap": TableColumn("gap", digits=2, signed=True, interval="ends"),
    }
    blocks = [
        TableBlock(
            backbone,
            tuple(
                _row(backbone, one, {name: of_pooled(one.aggregate(name)) for name in columns})
                for one in merged_methods(run)
            ),
            rank=backbone,
        )
        for backbone, run in runs.items()
    ]
    caption = f"{_NP} The gap is worst task less average."
    return Content(columns, tuple(blocks), "method", caption, _notes(runs))


def published_worst_task() -> Content:
    """The same as the paper prints it: METIS is many-shot, the others are post-hoc."""
    columns = {
        "average": TableColumn("average"),
        "worst_task": TableColumn("worst task"),
        "gap": TableColumn("gap", digits=2, signed=True),
    }
    blocks = [
        TableBlock(backbone, _published_rows(rows, columns), rank=backbone)
        for (backbone,), rows in _grouped("metis_worst_task", "backbone")
    ]
    return _published("metis_worst_task", columns, blocks, f"{_NP} The gap is worst task less average.")


def forgetting(runs: Backbones) -> Content:
    """Scores of the base and of every method on the benchmarks that watch forgetting."""
    watched = {one.name: one for run in runs.values() for one in run.suite.forgetting}
    names = list(watched)
    columns = {
        name: TableColumn(
            name if one.higher_is_better else f"{name} ↓", lower=not one.higher_is_better, interval="ends"
        )
        for name, one in watched.items()
    }
    blocks = []
    for backbone, run in runs.items():
        base = [
            TableRow(
                (backbone, "pretrained", ""),
                "base",
                {name: of_pooled(pooled_scores([row], name)) for name in names},
            )
            for row in run.rows
            if row.role == "base"
        ]
        merged = [
            _row(backbone, one, {name: of_pooled(one.score(name)) for name in names})
            for one in merged_methods(run)
        ]
        blocks.append(TableBlock(backbone, (*base, *merged), rank=backbone))
    caption = (
        "Scores on benchmarks that no expert was trained for; worse than the base's is forgotten (↓: lower "
        "is better)."
    )
    return Content(columns, tuple(blocks), "model", caption, _notes(runs, of_tasks=False))


def published_forgetting() -> Content:
    """The same as the paper prints it."""
    columns = {name: TableColumn(name) for name in ("coqa", "pubmedqa")}
    blocks = [
        TableBlock(backbone, _published_rows(rows, columns), rank=backbone)
        for (backbone,), rows in _grouped("metis_forgetting", "backbone")
    ]
    caption = (
        "Scores on benchmarks that no expert was trained for; below the pretrained model's is forgotten."
    )
    return _published("metis_forgetting", columns, blocks, caption)


def ablation(runs: Backbones) -> Content:
    """Methods of a run beside its first, which is whole: what each of the others lacks."""
    columns = {
        "average": TableColumn("average", interval="ends"),
        "average less": TableColumn("difference", signed=True, ranked=False, interval="ends"),
        "worst_task": TableColumn("worst task", interval="ends"),
        "worst_task less": TableColumn("difference", signed=True, ranked=False, interval="ends"),
    }
    blocks = []
    for backbone, run in runs.items():
        methods = merged_methods(run)
        rows = []
        for one in methods:
            values: dict[str, Value] = {}
            for name in ("average", "worst_task"):
                values[name] = of_pooled(one.aggregate(name))
                if one is not methods[0]:
                    values[f"{name} less"] = _difference(one, methods[0], name)
            rows.append(_row(backbone, one, values))
        blocks.append(TableBlock(backbone, tuple(rows), rank=backbone))
    caption = f"{_NP} Differences are to the first method, of equal seeds on the same documents."
    return Content(columns, tuple(blocks), "method", caption, _notes(runs))


def _difference(one: Merged, whole: Merged, name: str) -> Value:
    by_seed = {row.seed: row for row in whole.rows}
    return of_pooled(
        pooled_difference([(row, by_seed[row.seed]) for row in one.rows if row.seed in by_seed], name)
    )


def _row(backbone: str, one: Merged, values: Mapping[str, Value]) -> TableRow:
    label = one.title if one.protocol in {"", "post-hoc"} else f"{one.title}, {one.protocol}"
    return TableRow((backbone, one.method, one.protocol), label, values)


def _performance(one: Merged, run: Comparison, tasks: Sequence[str]) -> dict[str, Value]:
    values = {"average": of_pooled(one.aggregate("average"))}
    return values | {task: of_pooled(one.task(task)) for task in tasks if task in run.suite.tasks}


def _tasks(runs: Backbones) -> list[str]:
    return list(dict.fromkeys(task for run in runs.values() for task in run.suite.tasks))


def _notes(runs: Backbones, *, of_tasks: bool = True) -> tuple[str, ...]:
    notes = []
    for backbone, run in runs.items():
        benchmarks = run.suite.task_benchmarks if of_tasks else run.suite.forgetting
        rows = [row for one in merged_methods(run) for row in one.rows]
        counts = {one.name: {row.n[one.name] for row in rows if one.name in row.n} for one in benchmarks}
        seeds = {len(one.rows) for one in merged_methods(run)}
        notes.append(f"{backbone}: {sizes(counts, seeds)}")
        notes += run.left_out.values()
        about: dict[str, list[str]] = {}
        for row in rows if of_tasks else ():
            for note in row.notes:
                about.setdefault(note, []).append(row.label)
        notes += [
            note if len(labels) == len(rows) else f"{', '.join(labels)}: {note}"
            for note, labels in about.items()
        ]
    return tuple(notes)


def _grouped(name: str, *by: str) -> list[tuple[tuple[str, ...], list[dict[str, str]]]]:
    """The rows of a published table by the values of some columns."""
    found: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for row in published_rows(name):
        found.setdefault(tuple(row[column] for column in by), []).append(row)
    return list(found.items())


def _published_rows(
    rows: Sequence[Mapping[str, str]], columns: Mapping[str, TableColumn], protocol: str | None = None
) -> tuple[TableRow, ...]:
    """The rows of a block; without a protocol METIS is many-shot and the other methods are post-hoc."""
    found = []
    for row in rows:
        method = row["method"]
        of = protocol or {"metis": "many-shot", "pretrained": ""}.get(method, "post-hoc")
        label = method if protocol or of != "many-shot" else f"{method}, {of}"
        values = {name: Value(float(row[name])) for name in columns}
        found.append(TableRow((row["backbone"], method, of), label, values))
    return tuple(found)


def _published(
    name: str, columns: Mapping[str, TableColumn], blocks: Sequence[TableBlock], caption: str
) -> Content:
    notes = tuple(one.text for one in disagreements(name))
    source = f"{caption} As printed in {SOURCES['metis']}."
    return Content(columns, tuple(blocks), "method", source, notes)
