"""DivMerge's tables (arXiv 2509.02108): pairs, number of tasks, correlation, accuracies across experts.

Performance is in percent, as the paper prints it.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from reports.table_model import Column, Group, Table, TableRow, Value, pooled_value
from reports.tables import named_table
from reports.tables.published import documents_and_seeds, published_table
from results.comparison import Comparison
from results.errors import InputError
from results.metrics import mapped
from results.minima import Term
from results.pooled import merged_methods, pooled
from results.published import published_rows
from results.signal_report import SignalReport, mean_of_known
from results.task_subsets import OverSubsets, over_subsets

Subsets = Mapping[tuple[str, ...], Comparison]
"""Runs by the tasks that they merge."""
Families = Mapping[str, Subsets]
"""The runs of each experiment, by its title."""
SETTINGS = {
    "glue-lab": "classification",
    "divmerge-glue": "classification",
    "t5-lab": "generation",
    "divmerge-t5": "generation",
}
"""Which of the paper's two settings a suite is of."""
METHODS = {
    "model_averaging": "averaging",
    "multi_slerp": "Multi-SLERP",
    "ties": "TIES",
    "adamerging_task": "AdaMerging TL",
    "adamerging_layer": "AdaMerging LL",
    "kl_task": "KL TL",
    "kl_layer": "KL LL",
    "js_task": "JS TL",
    "js_layer": "JS LL",
}
_ANP = "Mean ANP in percent: the mean over merged tasks of normalised performance."
_RHO = {kind: Column(f"{kind.upper()} ρ", signed=True, ranked=False) for kind in ("kl", "js")}


def _published_pairwise() -> Table:
    """Intervals are means ± margins."""
    columns = {
        setting: Column(f"ANP {setting}", digits=2, interval="margin")
        for setting in ("classification", "generation")
    }

    def make_row(row: Mapping[str, str]) -> TableRow:
        values = {}
        for setting in columns:
            mean, margin = float(row[f"{setting}_anp"]), float(row[f"{setting}_ci95"])
            values[setting] = Value(mean, mean - margin, mean + margin)
        return TableRow(METHODS[row["method"]], values, (row["method"],))

    return published_table("divmerge", "divmerge_pairwise_anp", columns, f"{_ANP} Over pairs.", make_row)


@named_table(
    "divmerge-pairwise", "mean ANP over all pairs of tasks", needs="families", paper=_published_pairwise
)
def pairwise(families: Families) -> Table:
    """Mean ANP over all pairs of tasks, a column for each experiment."""
    columns: dict[str, Column] = {}
    rows: dict[tuple[str, str], TableRow] = {}
    notes: list[str] = []
    for title, comparisons in families.items():
        setting = _setting(title, comparisons)
        if setting in columns:
            raise InputError(f"two of the experiments are of {setting}; name one of them")
        columns[setting] = Column(f"ANP {setting}", digits=2, interval="bounds")
        pairs: Subsets = {subset: run for subset, run in comparisons.items() if len(subset) == 2}
        for anp in _over(pairs, notes):
            row = rows.get(anp.method, TableRow(anp.label, {}, (anp.key,)))
            rows[anp.method] = replace(row, values={**row.values, setting: anp.value})
        notes += _family_notes(title, pairs)
    caption = f"{_ANP} Intervals are 95 % by a jackknife over tasks, which pairs share."
    return Table(columns, (Group(tuple(rows.values())),), "method", caption, tuple(notes))


def _published_scaling() -> Table:
    """Margins are printed for two and three tasks of one setting, and stand in the notes."""
    name = "divmerge_anp_by_task_count"
    columns = {
        method: Column(METHODS[method], digits=2, ranked=False)
        for method in published_rows(name)[0]
        if method in METHODS
    }

    def make_row(row: Mapping[str, str]) -> TableRow:
        number = row["tasks"]
        label = number if number == "average" else f"{number} tasks"
        return TableRow(label, {m: Value(float(row[m])) for m in columns}, (row["setting"], number))

    table = published_table("divmerge", name, columns, _ANP, make_row, grouped_by=("setting",), head="merged")
    margins = [
        f"generation, {METHODS[row['method']]}: 95 % margins {row['two_tasks']} for two tasks and "
        f"{row['three_tasks']} for three"
        for row in published_rows("divmerge_ci95_margins_generation")
    ]
    return replace(table, notes=(*table.notes, *margins))


@named_table(
    "divmerge-scaling", "mean ANP by the number of merged tasks", needs="families", paper=_published_scaling
)
def scaling(families: Families) -> Table:
    """Mean ANP by the number of merged tasks, a row for each number, and their mean."""
    groups: list[Group] = []
    columns: dict[str, Column] = {}
    notes: list[str] = []
    for title, comparisons in families.items():
        setting = _setting(title, comparisons)
        summaries = _over(comparisons, notes)
        first = {anp.key: anp.method for anp in reversed(summaries)}
        by_size: dict[int, dict[str, Value]] = {}
        for anp in summaries:
            # The paper's column is the first variant's of a method; the others have columns of their own.
            column = anp.key if first[anp.key] == anp.method else f"{anp.key} {anp.label}"
            columns.setdefault(column, Column(anp.label, digits=2, ranked=False, interval="bounds"))
            by_size.setdefault(anp.size, {})[column] = anp.value
        rows = [TableRow(f"{size} tasks", by_size[size], (setting, str(size))) for size in sorted(by_size)]
        if len(rows) > 1:
            means = {name: _mean([row.value(name).number for row in rows]) for name in columns}
            rows.append(TableRow("average", means, (setting, "average")))
        groups.append(Group(tuple(rows), title if title == setting else f"{title} ({setting})"))
        notes += _family_notes(title, comparisons)
    caption = (
        f"{_ANP} Intervals are 95 % by a jackknife over tasks, which subsets share; the average is over "
        "numbers of tasks."
    )
    return Table(columns, tuple(groups), "merged", caption, tuple(notes))


def _mean(numbers: Sequence[float | None]) -> Value:
    known = [number for number in numbers if number is not None]
    return Value(fmean(known) if len(known) == len(numbers) else None)


def _published_correlation() -> Table:
    return published_table(
        "divmerge",
        "divmerge_divergence_correlation",
        _RHO,
        "Spearman's ρ of −D(θ_i‖θ_j) on task i's inputs and the score of θ_j on task i.",
        lambda row: TableRow(
            row["task"], {kind: Value(float(row[f"{kind}_spearman"])) for kind in _RHO}, (row["task"],)
        ),
        head="task",
    )


@named_table(
    "divmerge-correlation",
    "Spearman's ρ of divergence and score by task",
    needs="signals",
    paper=_published_correlation,
)
def correlation(reports: Mapping[str, SignalReport]) -> Table:
    """Spearman's ρ of nearness and score of each task, and its mean, for both divergences."""
    columns = {
        kind: column
        for kind, column in _RHO.items()
        if any(kind in report.divergences for report in reports.values())
    }
    groups, notes = [], []
    for title, report in reports.items():
        rho = {kind: report.spearman[kind] for kind in columns if kind in report.divergences}
        rows = [
            TableRow(task, {kind: Value(by_task[task]) for kind, by_task in rho.items()}, (task,))
            for task in report.tasks
        ]
        means = {kind: Value(mean_of_known(by_task)) for kind, by_task in rho.items()}
        rows.append(TableRow("average", means, ("average",)))
        groups.append(Group(tuple(rows), title if len(reports) > 1 else ""))
        inputs = ", ".join(f"{task} {number}" for task, number in report.inputs.items())
        notes.append(f"{title}: {len(report.tasks)} experts; inputs of the divergences: {inputs}")
    caption = (
        "Spearman's ρ over all experts θ_j, the task's own among them, of −D(θ_i‖θ_j) on task i's inputs and "
        "the score of θ_j on task i."
    )
    return Table(columns, tuple(groups), "task", caption, tuple(notes))


def _published_cross_accuracy() -> Table:
    name = "divmerge_glue_cross_accuracy"
    columns = {task: Column(task, digits=2) for task in published_rows(name)[0] if task != "model"}
    return published_table(
        "divmerge",
        name,
        columns,
        "Accuracy in percent: the expert of the row on the task of the column.",
        lambda row: TableRow(
            row["model"], {task: Value(float(row[task])) for task in columns}, (row["model"],)
        ),
        head="expert",
    )


@named_table(
    "divmerge-cross-accuracy",
    "every expert's score on every task",
    needs="families",
    paper=_published_cross_accuracy,
)
def cross_accuracy(families: Families) -> Table:
    """Scores of every expert on every task in percent, a row for each expert."""
    groups, notes = [], []
    columns: dict[str, Column] = {}
    for title, comparisons in families.items():
        scores: dict[str, dict[str, dict[int | None, tuple[float | None, Term]]]] = {}
        counts: dict[str, set[int]] = {}
        experts = [(run, row) for run in comparisons.values() for row in run.rows if row.role == "expert"]
        for run, row in experts:
            for task, benchmarks in run.suite.tasks.items():
                if row.entry.task is None or any(
                    benchmark.name not in row.scores for benchmark in benchmarks
                ):
                    continue
                counts.setdefault(task, set()).update(row.n[benchmark.name] for benchmark in benchmarks)
                score = fmean(mapped(benchmark, row.scores[benchmark.name]) for benchmark in benchmarks)
                drawn = np.mean(
                    [mapped(benchmark, row.resampled.scores[benchmark.name]) for benchmark in benchmarks],
                    axis=0,
                )
                scores.setdefault(row.entry.task, {}).setdefault(task, {})[row.seed] = score, (drawn, None)
        columns |= {
            task: Column(task, digits=2, interval="bounds") for by_task in scores.values() for task in by_task
        }
        rows = [
            TableRow(
                expert,
                {
                    task: pooled_value(pooled(list(by_seed.values()), list(by_seed)), 100)
                    for task, by_seed in by_task.items()
                },
                (expert,),
            )
            for expert, by_task in scores.items()
        ]
        groups.append(Group(tuple(rows), title if len(families) > 1 else "", rank=title))
        seeds = {len(by_seed) for by_task in scores.values() for by_seed in by_task.values()}
        notes.append(f"{title}: {documents_and_seeds(counts, seeds)}")
    caption = (
        "Scores in percent, higher being better: the expert of the row on the task of the column, the mean "
        "over its benchmarks."
    )
    return Table(columns, tuple(groups), "expert", caption, tuple(notes))


def _setting(title: str, comparisons: Subsets) -> str:
    """The paper's setting that a family of runs is of, or its title."""
    suites = {run.suite.name for run in comparisons.values()}
    return next((SETTINGS[suite] for suite in suites if suite in SETTINGS), title)


@dataclass(frozen=True)
class _MeanAnp:
    """A method's ANP over the subsets of one size: the paper's name of the method, and ours."""

    key: str
    method: tuple[str, str]
    label: str
    size: int
    value: Value


def _over(comparisons: Subsets, notes: list[str]) -> list[_MeanAnp]:
    """Every method's ANP by number of tasks; a method that lacks subsets has no value, which is noted."""
    keys = {
        (method.title, method.protocol): _key(method.method, method.rows[0].entry.settings) or method.title
        for run in comparisons.values()
        for method in merged_methods(run)
    }
    summaries = over_subsets(comparisons)
    means = []
    for summary in summaries:
        method = summary.method, summary.protocol
        label = summary.method if summary.protocol in {"", "post-hoc"} else ", ".join(method)
        most = max(other.n for other in summaries if other.size == summary.size)
        value = _percent(summary)
        if summary.n < most:
            notes.append(f"{label}: ANP of {summary.n} of {most} subsets of {summary.size} tasks, so no mean")
            value = Value(None)
        means.append(_MeanAnp(keys[method], method, label, summary.size, value))
    return means


def _key(method: str, settings: Mapping[str, object]) -> str | None:
    """The paper's name of a method, None where it has none."""
    level = settings.get("level", "task")
    return {
        "average": "model_averaging",
        "multislerp": "multi_slerp",
        "ties": "ties",
        "adamerging": f"adamerging_{level}",
        "divmerge": f"{settings.get('divergence', 'js')}_{level}",
    }.get(method)


def _percent(summary: OverSubsets) -> Value:
    interval = summary.interval
    low, high = (100 * interval.low, 100 * interval.high) if interval else (None, None)
    by_task: dict[Hashable, float] = {task: 100 * anp for task, anp in summary.each.items()}
    return Value(100 * summary.mean, low, high, by_seed=by_task)


def _family_notes(title: str, comparisons: Subsets) -> Iterable[str]:
    counts: dict[str, set[int]] = {}
    seeds: set[int] = set()
    left_out: dict[str, str] = {}
    for run in comparisons.values():
        seeds |= {len(method.rows) for method in merged_methods(run)}
        left_out |= run.left_out
        for row in run.rows:
            for name, number in row.n.items():
                counts.setdefault(name, set()).add(number)
    counted = " Means are over the tasks that are not left out." * bool(left_out)
    bare = sum(all(row.anp.value is None for row in run.rows) for run in comparisons.values())
    without = f", {bare} of them without an ANP" * bool(bare)
    rests_on = documents_and_seeds(counts, seeds)
    return [
        f"{title}: {len(comparisons)} subsets of tasks{without}; {rests_on}.{counted}",
        *left_out.values(),
    ]
