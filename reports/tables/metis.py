"""METIS's tables (arXiv 2606.16501): performance, worst task, forgetting, ablation."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from reports.table_model import Column, Group, Table, TableRow, Value, pooled_value
from reports.tables import named_table
from reports.tables.comparison import notes_of
from reports.tables.published import documents_and_seeds, published_table
from results.comparison import Comparison
from results.pooled import MethodOverSeeds, Pooled, merged_methods, pooled_difference, pooled_scores
from results.published.disagreements import METIS_TASKS
from results.suite import RANKED_BY

Backbones = Mapping[str, Comparison]
"""Runs by the name of their backbone."""
_PROTOCOLS = ("post-hoc", "many-shot")
_NP = "Normalised performance: a score over that of the task's own expert."
_WORST_TASK = {
    "average": Column("average", interval="bounds"),
    "worst_task": Column("worst task", interval="bounds"),
    "gap": Column("gap", digits=2, signed=True, interval="bounds"),
}


def _published(name: str, columns: Iterable[str], caption: str, *grouped_by: str) -> Callable[[], Table]:
    """Makes a table as METIS prints it; without a protocol METIS is many-shot, the other methods post-hoc."""
    shown = {name: _WORST_TASK.get(name, Column(name)) for name in columns}

    def make_row(row: Mapping[str, str]) -> TableRow:
        method = row["method"]
        usual = {"metis": "many-shot", "pretrained": ""}.get(method, "post-hoc")
        label = f"{method}, many-shot" if "protocol" not in row and usual == "many-shot" else method
        values = {column: Value(float(row[column])) for column in shown}
        return TableRow(label, values, (row["backbone"], method, row.get("protocol", usual)))

    return lambda: published_table(
        "metis", name, shown, caption, make_row, grouped_by=("backbone", *grouped_by)
    )


@named_table(
    "metis-performance",
    "normalised performance by task, merged once and in rounds",
    paper=_published("metis_normalized_performance", ("average", *METIS_TASKS), _NP, "protocol"),
)
def performance(runs: Backbones) -> Table:
    """Average and task performance of every method, a group for each backbone and protocol."""
    tasks = list(dict.fromkeys(task for run in runs.values() for task in run.suite.tasks))
    columns = {"average": _WORST_TASK["average"], **{task: Column(task) for task in tasks}}
    groups = []
    for backbone, run in runs.items():
        methods = merged_methods(run)
        for protocol in dict.fromkeys([*_PROTOCOLS, *(method.protocol for method in methods)]):
            rows = tuple(
                _row(
                    backbone, method, {name: method.statistic(name) for name in ("average", *run.suite.tasks)}
                )
                for method in methods
                if method.protocol == protocol
            )
            if rows:
                groups.append(Group(rows, f"{backbone}, {protocol or 'merged'}", rank=backbone))
    return Table(columns, tuple(groups), "method", f"{_NP} The average is over benchmarks.", _notes(runs))


@named_table(
    "metis-worst-task",
    "average, worst task and the gap between them",
    paper=_published(
        "metis_worst_task",
        _WORST_TASK,
        f"{_NP} The gap is worst task less average.",
    ),
)
def worst_task(runs: Backbones) -> Table:
    """Average, worst task and the gap between them, of every method under every protocol."""
    caption = f"{_NP} The gap is worst task less average."
    groups = [
        _group(
            backbone,
            [
                _row(backbone, method, {name: method.aggregate(name) for name in _WORST_TASK})
                for method in merged_methods(run)
            ],
        )
        for backbone, run in runs.items()
    ]
    return Table(_WORST_TASK, tuple(groups), "method", caption, _notes(runs))


@named_table(
    "metis-forgetting",
    "scores on benchmarks that no expert was trained for, beside the base's",
    paper=_published(
        "metis_forgetting",
        ("coqa", "pubmedqa"),
        "Scores on benchmarks that no expert was trained for; below the pretrained model's is forgotten.",
    ),
)
def forgetting(runs: Backbones) -> Table:
    """Scores of the base and of every method on the benchmarks that watch forgetting."""
    columns = {
        benchmark.name: Column(
            benchmark.name + " ↓" * (not benchmark.higher_is_better),
            lower=not benchmark.higher_is_better,
            interval="bounds",
        )
        for run in runs.values()
        for benchmark in run.suite.forgetting
    }
    groups = []
    for backbone, run in runs.items():
        rows = [
            TableRow(
                "base",
                {name: pooled_value(pooled_scores([row], name)) for name in columns},
                (backbone, "pretrained", ""),
            )
            for row in run.rows
            if row.role == "base"
        ]
        rows += [
            _row(backbone, method, {name: method.score(name) for name in columns})
            for method in merged_methods(run)
        ]
        groups.append(_group(backbone, rows))
    caption = (
        "Scores on benchmarks that no expert was trained for; worse than the base's is forgotten (↓: lower "
        "is better)."
    )
    return Table(columns, tuple(groups), "model", caption, _notes(runs, of_tasks=False))


@named_table("metis-ablation", "a run's methods beside its first, such as METIS without each of its parts")
def ablation(runs: Backbones) -> Table:
    """Methods of a run beside its first, which is whole: what each of the others lacks."""
    difference = Column("difference", signed=True, ranked=False, interval="bounds")
    columns = {
        "average": _WORST_TASK["average"],
        "average less": difference,
        "worst_task": _WORST_TASK["worst_task"],
        "worst_task less": difference,
    }
    groups = []
    for backbone, run in runs.items():
        methods = merged_methods(run)
        rows = []
        for method in methods:
            values = {name: method.aggregate(name) for name in RANKED_BY}
            if method is not methods[0]:
                whole = {row.seed: row for row in methods[0].rows}
                pairs = [(row, whole[row.seed]) for row in method.rows if row.seed in whole]
                values |= {f"{name} less": pooled_difference(pairs, name) for name in list(values)}
            rows.append(_row(backbone, method, values))
        groups.append(_group(backbone, rows))
    caption = f"{_NP} Differences are to the first method, of equal seeds on the same documents."
    return Table(columns, tuple(groups), "method", caption, _notes(runs))


def _group(backbone: str, rows: Sequence[TableRow]) -> Group:
    return Group(tuple(rows), backbone, rank=backbone)


def _row(backbone: str, method: MethodOverSeeds, values: Mapping[str, Pooled]) -> TableRow:
    label = method.title if method.protocol in {"", "post-hoc"} else f"{method.title}, {method.protocol}"
    shown = {name: pooled_value(pooled) for name, pooled in values.items()}
    return TableRow(label, shown, (backbone, method.method, method.protocol))


def _notes(runs: Backbones, *, of_tasks: bool = True) -> tuple[str, ...]:
    notes = []
    for backbone, run in runs.items():
        benchmarks = run.suite.task_benchmarks if of_tasks else run.suite.forgetting
        methods = merged_methods(run)
        rows = [row for method in methods for row in method.rows]
        counts = {
            benchmark.name: {row.n[benchmark.name] for row in rows if benchmark.name in row.n}
            for benchmark in benchmarks
        }
        notes.append(f"{backbone}: {documents_and_seeds(counts, {len(method.rows) for method in methods})}")
        notes += run.left_out.values()
        notes += notes_of(rows) if of_tasks else []
    return tuple(notes)
