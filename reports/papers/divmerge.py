"""DivMerge's tables (arXiv 2509.02108): pairs, number of tasks, correlation, accuracies across experts.

Performance is in percent, as the paper prints it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from reports.papers.content import Content, TableBlock, TableColumn, TableRow, Value, of_pooled, sizes
from results.comparison import Comparison
from results.errors import InputError
from results.metrics import mapped
from results.minima import Term
from results.pooled import merged_methods, pooled
from results.published import SOURCES, published_rows
from results.published.disagreements import disagreements
from results.signals import SignalReport, mean_known
from results.subsets import OverSubsets, over_subsets

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


def pairwise(families: Families) -> Content:
    """Mean ANP over all pairs of tasks, a column for each experiment."""
    columns: dict[str, TableColumn] = {}
    rows: dict[tuple[str, str], TableRow] = {}
    notes: list[str] = []
    for title, comparisons in families.items():
        setting = _setting(title, comparisons)
        if setting in columns:
            raise InputError(f"two of the experiments are of {setting}; name one of them")
        columns[setting] = TableColumn(f"ANP {setting}", digits=2, interval="ends")
        pairs: Subsets = {subset: one for subset, one in comparisons.items() if len(subset) == 2}
        for row in _over(pairs, notes):
            known = rows.get(row.name)
            values = {**(known.values if known else {}), setting: row.value}
            rows[row.name] = TableRow((row.key,), row.label, values)
        notes += _family_notes(title, pairs)
    caption = f"{_ANP} Intervals are 95 % by a jackknife over tasks, which pairs share."
    return Content(columns, (TableBlock("", tuple(rows.values())),), "method", caption, tuple(notes))


def published_pairwise() -> Content:
    """The same as the paper prints it, intervals as means ± margins."""
    columns = {
        setting: TableColumn(f"ANP {setting}", digits=2, interval="margin")
        for setting in ("classification", "generation")
    }
    rows = []
    for row in published_rows("divmerge_pairwise_anp"):
        values = {}
        for setting in columns:
            mean, margin = float(row[f"{setting}_anp"]), float(row[f"{setting}_ci95"])
            values[setting] = Value(mean, mean - margin, mean + margin)
        rows.append(TableRow((row["method"],), METHODS[row["method"]], values))
    return _published("divmerge_pairwise_anp", columns, [TableBlock("", tuple(rows))], f"{_ANP} Over pairs.")


def scaling(families: Families) -> Content:
    """Mean ANP by the number of merged tasks, a row for each number, and their mean."""
    blocks: list[TableBlock] = []
    columns: dict[str, TableColumn] = {}
    notes: list[str] = []
    for title, comparisons in families.items():
        setting = _setting(title, comparisons)
        found = _over(comparisons, notes)
        keys = {row.key: row.name for row in reversed(found)}
        by_size: dict[int, dict[str, Value]] = {}
        for row in found:
            # The paper's column is the first variant's of a method; the others have columns of their own.
            column = row.key if keys[row.key] == row.name else f"{row.key} {row.label}"
            columns.setdefault(column, TableColumn(row.label, digits=2, ranked=False, interval="ends"))
            by_size.setdefault(row.size, {})[column] = row.value
        rows = [
            TableRow((setting, str(size)), f"{size} tasks", values)
            for size, values in sorted(by_size.items())
        ]
        if len(rows) > 1:
            means = {name: _mean_of([row.values.get(name) for row in rows]) for name in columns}
            rows.append(TableRow((setting, "average"), "average", means))
        blocks.append(TableBlock(title if title == setting else f"{title} ({setting})", tuple(rows)))
        notes += _family_notes(title, comparisons)
    caption = (
        f"{_ANP} Intervals are 95 % by a jackknife over tasks, which subsets share; the average is over "
        "numbers of tasks."
    )
    return Content(columns, tuple(blocks), "merged", caption, tuple(notes))


def _mean_of(values: Sequence[Value | None]) -> Value:
    known = [one.number for one in values if one is not None and one.number is not None]
    return Value(fmean(known)) if len(known) == len(values) else Value(None)


def published_scaling() -> Content:
    """The same as the paper prints it."""
    table = published_rows("divmerge_anp_by_task_count")
    columns = {
        name: TableColumn(METHODS[name], digits=2, ranked=False) for name in table[0] if name in METHODS
    }
    blocks = []
    for setting in dict.fromkeys(row["setting"] for row in table):
        found = []
        for row in table:
            if row["setting"] == setting:
                number = row["tasks"]
                label = number if number == "average" else f"{number} tasks"
                values = {name: Value(float(row[name])) for name in columns}
                found.append(TableRow((setting, number), label, values))
        blocks.append(TableBlock(setting, tuple(found)))
    said = [
        f"generation, {METHODS[row['method']]}: 95 % margins {row['two_tasks']} for two tasks and "
        f"{row['three_tasks']} for three"
        for row in published_rows("divmerge_ci95_margins_generation")
    ]
    content = _published("divmerge_anp_by_task_count", columns, blocks, _ANP, head="merged")
    return Content(content.columns, content.blocks, content.head, content.caption, (*content.notes, *said))


def correlation(reports: Mapping[str, SignalReport]) -> Content:
    """Spearman's ρ of nearness and score of each task, and its mean, for both divergences."""
    kinds = [kind for kind in ("kl", "js") if any(kind in report.divergences for report in reports.values())]
    columns = {kind: TableColumn(f"{kind.upper()} ρ", signed=True, ranked=False) for kind in kinds}
    blocks, notes = [], []
    for title, report in reports.items():
        found = {kind: report.correlations(kind) for kind in kinds if kind in report.divergences}
        rows = [
            TableRow((task,), task, {kind: Value(of_kind[task]) for kind, of_kind in found.items()})
            for task in report.tasks
        ]
        means = {kind: Value(mean_known(of_kind)) for kind, of_kind in found.items()}
        rows.append(TableRow(("average",), "average", means))
        blocks.append(TableBlock(title if len(reports) > 1 else "", tuple(rows)))
        inputs = ", ".join(f"{task} {number}" for task, number in report.inputs.items())
        notes.append(f"{title}: {len(report.tasks)} experts; inputs of the divergences: {inputs}")
    caption = (
        "Spearman's ρ over all experts θ_j, the task's own among them, of −D(θ_i‖θ_j) on task i's inputs and "
        "the score of θ_j on task i."
    )
    return Content(columns, tuple(blocks), "task", caption, tuple(notes))


def published_correlation() -> Content:
    """The same as the paper prints it."""
    columns = {kind: TableColumn(f"{kind.upper()} ρ", signed=True, ranked=False) for kind in ("kl", "js")}
    rows = tuple(
        TableRow(
            (row["task"],),
            row["task"],
            {kind: Value(float(row[f"{kind}_spearman"])) for kind in columns},
        )
        for row in published_rows("divmerge_divergence_correlation")
    )
    caption = "Spearman's ρ of −D(θ_i‖θ_j) on task i's inputs and the score of θ_j on task i."
    return _published(
        "divmerge_divergence_correlation", columns, [TableBlock("", rows)], caption, head="task"
    )


def cross_accuracy(families: Families) -> Content:
    """Scores of every expert on every task in percent, a row for each expert."""
    blocks, notes = [], []
    columns: dict[str, TableColumn] = {}
    for title, comparisons in families.items():
        found: dict[str, dict[str, dict[int | None, tuple[float | None, Term]]]] = {}
        counts: dict[str, set[int]] = {}
        experts = [
            (run, row, row.task)
            for run in comparisons.values()
            for row in run.rows
            if row.role == "expert" and row.task is not None
        ]
        for run, row, expert in experts:
            for task, benchmarks in run.suite.tasks.items():
                if any(one.name not in row.scores for one in benchmarks):
                    continue
                counts.setdefault(task, set()).update(row.n[one.name] for one in benchmarks)
                score = fmean(mapped(one, row.scores[one.name]) for one in benchmarks)
                drawn = np.mean([mapped(one, row.resampled.scores[one.name]) for one in benchmarks], axis=0)
                found.setdefault(expert, {}).setdefault(task, {})[row.seed] = score, (drawn, None)
        rows = tuple(
            TableRow((expert,), expert, {task: _percent_of(each) for task, each in by_task.items()})
            for expert, by_task in found.items()
        )
        columns |= {
            task: TableColumn(task, digits=2, interval="ends")
            for by_task in found.values()
            for task in by_task
        }
        blocks.append(TableBlock(title if len(families) > 1 else "", rows, rank=title))
        seeds = {len(each) for by_task in found.values() for each in by_task.values()}
        notes.append(f"{title}: {sizes(counts, seeds)}")
    caption = (
        "Scores in percent, higher being better: the expert of the row on the task of the column, the mean "
        "over its benchmarks."
    )
    return Content(columns, tuple(blocks), "expert", caption, tuple(notes))


def published_cross_accuracy() -> Content:
    """The same as the paper prints it."""
    table = published_rows("divmerge_glue_cross_accuracy")
    columns = {task: TableColumn(task, digits=2) for task in table[0] if task != "model"}
    rows = tuple(
        TableRow((str(row["model"]),), str(row["model"]), {task: Value(float(row[task])) for task in columns})
        for row in table
    )
    caption = "Accuracy in percent: the expert of the row on the task of the column."
    return _published("divmerge_glue_cross_accuracy", columns, [TableBlock("", rows)], caption, head="expert")


def _setting(title: str, comparisons: Mapping[tuple[str, ...], Comparison]) -> str:
    """The paper's setting that a family of runs is of, or its title."""
    suites = {one.suite.name for one in comparisons.values()}
    return next((SETTINGS[suite] for suite in suites if suite in SETTINGS), title)


@dataclass(frozen=True)
class _OverSubsets:
    """A method's ANP over the subsets of one size: the paper's name of the method, and ours."""

    key: str
    name: tuple[str, str]
    label: str
    size: int
    value: Value


def _over(comparisons: Subsets, notes: list[str]) -> list[_OverSubsets]:
    """Every method's ANP by number of tasks; a method that lacks subsets has no value, which is noted."""
    keys = {
        (one.title, one.protocol): _key(one.method, one.rows[0].settings) or one.title
        for run in comparisons.values()
        for one in merged_methods(run)
    }
    summaries = over_subsets(comparisons)
    most = {size: max(one.n for one in summaries if one.size == size) for size in {s.size for s in summaries}}
    found = []
    for one in summaries:
        label = one.method if one.protocol in {"", "post-hoc"} else f"{one.method}, {one.protocol}"
        value = _percent(one)
        if one.n < most[one.size]:
            notes.append(
                f"{label}: ANP of {one.n} of {most[one.size]} subsets of {one.size} tasks, so no mean"
            )
            value = Value(None)
        name = one.method, one.protocol
        found.append(_OverSubsets(keys[name], name, label, one.size, value))
    return found


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


def _percent(one: OverSubsets) -> Value:
    low, high = (100 * one.interval.low, 100 * one.interval.high) if one.interval else (None, None)
    return Value(100 * one.mean, low, high, each={task: 100 * anp for task, anp in one.each.items()})


def _percent_of(each: Mapping[int | None, tuple[float | None, Term]]) -> Value:
    return of_pooled(pooled(list(each.values()), list(each)), 100)


def _family_notes(title: str, comparisons: Mapping[tuple[str, ...], Comparison]) -> list[str]:
    counts: dict[str, set[int]] = {}
    seeds: set[int] = set()
    left_out: dict[str, str] = {}
    for run in comparisons.values():
        seeds |= {len(one.rows) for one in merged_methods(run)}
        left_out |= run.left_out
        for row in run.rows:
            for name, number in row.n.items():
                counts.setdefault(name, set()).add(number)
    counted = " Means are over the tasks that are not left out." * bool(left_out)
    bare = sum(all(row.anp.value is None for row in run.rows) for run in comparisons.values())
    without = f", {bare} of them without an ANP" * bool(bare)
    said = f"{title}: {len(comparisons)} subsets of tasks{without}; {sizes(counts, seeds)}.{counted}"
    return [said, *left_out.values()]


def _published(
    name: str,
    columns: Mapping[str, TableColumn],
    blocks: Sequence[TableBlock],
    caption: str,
    *,
    head: str = "method",
) -> Content:
    notes = tuple(one.text for one in disagreements(name))
    source = f"{caption} As printed in {SOURCES['divmerge']}."
    return Content(columns, tuple(blocks), head, source, notes)
