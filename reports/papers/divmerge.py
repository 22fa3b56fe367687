"""DivMerge's tables (arXiv 2509.02108): pairs, number of tasks, correlation, accuracies across experts.

Performance is in percent, as the paper prints it.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np

from reports.papers.content import Content, TableBlock, TableColumn, TableRow, Value, of_pooled, sizes
from results.comparison import Comparison
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
    cells: dict[tuple[tuple[str, ...], str], dict[str, Value]] = {}
    notes: list[str] = []
    for title, comparisons in families.items():
        setting = _setting(title, comparisons)
        columns[setting] = TableColumn(f"ANP {setting}", digits=2, interval="ends")
        pairs: Subsets = {subset: one for subset, one in comparisons.items() if len(subset) == 2}
        for key, label, one in _over(pairs):
            cells.setdefault((key, label), {})[setting] = _percent(one)
        notes += _family_notes(title, pairs)
    rows = tuple(TableRow(key, label, values) for (key, label), values in cells.items())
    caption = f"{_ANP} Intervals are 95 % over pairs."
    return Content(columns, (TableBlock("", rows),), "method", caption, tuple(notes))


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
    blocks, names, notes = [], {}, []
    for title, comparisons in families.items():
        setting = _setting(title, comparisons)
        by_size: dict[int, dict[str, Value]] = {}
        for key, label, one in _over(comparisons):
            names[key[0]] = label
            by_size.setdefault(one.size, {})[key[0]] = _percent(one)
        rows = [
            TableRow((setting, str(size)), f"{size} tasks", values)
            for size, values in sorted(by_size.items())
        ]
        means = {
            name: Value(fmean(known))
            for name in names
            if len(known := [v.number for r in rows if (v := r.values.get(name)) and v.number is not None])
            == len(rows)
        }
        if len(rows) > 1:
            rows.append(TableRow((setting, "average"), "average", means))
        blocks.append(TableBlock(title if title == setting else f"{title} ({setting})", tuple(rows)))
        notes += _family_notes(title, comparisons)
    columns = {
        name: TableColumn(label, digits=2, ranked=False, interval="ends") for name, label in names.items()
    }
    caption = f"{_ANP} Intervals are 95 % over subsets; the average is over numbers of tasks."
    return Content(columns, tuple(blocks), "merged", caption, tuple(notes))


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
    columns = {kind: TableColumn(f"{kind.upper()} ρ", signed=True, ranked=False) for kind in ("kl", "js")}
    blocks, notes = [], []
    for title, report in reports.items():
        found = {kind: report.correlations(kind) for kind in columns}
        rows = [
            TableRow((task,), task, {kind: Value(found[kind][task]) for kind in columns})
            for task in report.tasks
        ]
        means = {kind: Value(mean_known(found[kind])) for kind in columns}
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
        found: dict[str, dict[str, list[tuple[float | None, Term | None]]]] = {}
        counts: dict[str, set[int]] = {}
        for run in comparisons.values():
            for row in run.rows:
                if row.role != "expert" or row.task is None:
                    continue
                for task, benchmarks in run.suite.tasks.items():
                    names = [one.name for one in benchmarks if one.name in row.scores]
                    if len(names) < len(benchmarks):
                        continue
                    counts.setdefault(task, set()).update(row.n[name] for name in names)
                    score = fmean(row.scores[name] for name in names)
                    drawn = np.mean([row.resampled.scores[name] for name in names], axis=0)
                    found.setdefault(row.task, {}).setdefault(task, [])
                    if all(score != known for known, _ in found[row.task][task]):
                        found[row.task][task].append((score, (drawn, None)))
        rows = tuple(
            TableRow(
                (expert,), expert, {task: of_pooled(pooled(each), 100) for task, each in by_task.items()}
            )
            for expert, by_task in found.items()
        )
        columns |= {
            task: TableColumn(task, digits=2, interval="ends")
            for by_task in found.values()
            for task in by_task
        }
        blocks.append(TableBlock(title if len(families) > 1 else "", rows, rank=title))
        seeds = {len({row.seed for row in run.rows if row.role == "expert"}) for run in comparisons.values()}
        notes.append(f"{title}: {sizes(counts, seeds)}")
    caption = "Scores in percent: the expert of the row on the task of the column."
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


def _over(
    comparisons: Mapping[tuple[str, ...], Comparison],
) -> list[tuple[tuple[str, ...], str, OverSubsets]]:
    """Every method's ANP by number of tasks, with the paper's name of the method and ours."""
    keys = {}
    for run in comparisons.values():
        for one in merged_methods(run):
            keys[one.title, one.protocol] = _key(one.method, one.rows[0].settings) or one.title
    return [((keys[one.method, one.protocol],), one.method, one) for one in over_subsets(comparisons)]


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
    return Value(100 * one.mean, low, high)


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
    return [f"{title}: {len(comparisons)} subsets of tasks; {sizes(counts, seeds)}", *left_out.values()]


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
