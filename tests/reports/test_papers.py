"""The papers' tables: as printed cell by cell, of our own runs, and both beside each other."""

import csv
import io
import shutil
import subprocess
from dataclasses import dataclass, replace

import numpy as np
import pytest

from reports.latex import latex_text
from reports.table_model import Cell
from reports.tables import TABLES, make_table
from reports.writers import write
from results.errors import InputError
from results.metrics import Performance
from results.published import disagreements as module
from results.published import published_names, published_rows
from results.published.disagreements import disagreements
from results.signal_report import SignalReport

PRINTED = {
    "metis-performance": "metis_normalized_performance",
    "metis-worst-task": "metis_worst_task",
    "metis-forgetting": "metis_forgetting",
    "divmerge-pairwise": "divmerge_pairwise_anp",
    "divmerge-scaling": "divmerge_anp_by_task_count",
    "divmerge-correlation": "divmerge_divergence_correlation",
    "divmerge-cross-accuracy": "divmerge_glue_cross_accuracy",
}


@dataclass(frozen=True)
class Line:
    """A row as it is shown."""

    label: str
    cells: tuple[Cell, ...]


def lines(made):
    """By group, the rows as they are shown."""
    return [
        [Line(row.label, cells) for row, cells in zip(group.rows, of_group, strict=True)]
        for group, of_group in zip(made.groups, made.cells, strict=True)
    ]


def titles(made):
    return [group.title for group in made.groups]


def cells(made):
    return [[(cell.text, cell.interval) for cell in line.cells] for group in lines(made) for line in group]


@pytest.mark.parametrize(("name", "table"), PRINTED.items())
def test_every_printed_cell_is_shown_as_it_is_printed(name, table):
    made = make_table(name, "paper")
    rows = published_rows(table)
    found = cells(made)
    assert len(found) == len(rows)
    for row, line in zip(rows, found, strict=True):
        texts = [text for text in row.values() if text.lstrip("-").replace(".", "", 1).isdigit()]
        # A number of tasks is a row's name; a margin stands behind its mean; 2.6 is a 2.60 without its zero.
        if name == "divmerge-scaling":
            texts = texts[1:] if row["tasks"] != "average" else texts
        shown = [value.lstrip("+") for value, _ in line]
        if name == "divmerge-pairwise":
            shown = [part for value, interval in line for part in (value, interval.removeprefix("± "))]
            texts = [f"{float(text):.2f}" for text in texts]
        assert shown == texts, row


def test_every_published_table_is_in_one_of_ours_and_the_margins_of_numbers_in_its_notes():
    margins = {"divmerge_ci95_margins_generation"}
    assert set(PRINTED.values()) | margins == set(published_names())
    assert set(TABLES) == set(PRINTED) | {"metis-ablation", "ranks"}
    notes = make_table("divmerge-scaling", "paper").notes
    assert "generation, JS LL: 95 % margins 1.05 for two tasks and 1.09 for three" in notes


def test_the_best_of_each_backbone_is_bold_and_the_second_underlined():
    made = make_table("metis-performance", "paper")
    marks = {
        (title, line.label): [cell.mark for cell in line.cells]
        for title, group in zip(titles(made), lines(made), strict=True)
        for line in group
    }
    assert marks["Gemma-2-2B, many-shot", "metis"] == ["best", "best", "second", "", "best"]
    assert marks["Gemma-2-2B, post-hoc", "ties"] == ["", "", "", "best", ""]
    text = write(made, "markdown")
    assert "| metis | **0.800** | **0.525** | <ins>0.620</ins> | 0.815 | **1.213** |" in text


def test_the_papers_own_contradictions_are_found_and_no_others():
    found = [(one.table, one.text) for one in disagreements()]
    gaps = [text for table, text in found if table == "metis_worst_task"]
    assert [text.split(":")[0] for text in gaps] == ["Llama-3.1-8B", "Qwen-3-4B"]
    assert all("the text says that METIS has the smallest gap" in text for text in gaps)
    pairs = [text for table, text in found if table == "divmerge_pairwise_anp"]
    assert [text.split(":")[0] for text in pairs] == ["classification", "generation"]
    assert "multi_slerp 76.39 and 98.96" in pairs[1] and "9 of 9 methods" in pairs[0]
    assert len(found) == 4
    assert gaps[0] in write(make_table("metis-worst-task", "paper"), "markdown").replace("\\", "")


@pytest.mark.parametrize(
    ("table", "row", "column", "value", "said"),
    [
        ("metis_normalized_performance", 0, "average", "0.524", "the average is printed as 0.524"),
        ("metis_worst_task", 1, "worst_task", "0.380", "worst_task is printed as 0.380"),
        ("metis_worst_task", 1, "gap", "-0.31", "gap is printed as -0.31"),
        ("divmerge_anp_by_task_count", 6, "ties", "79.80", "ties: the average is printed as 79.8"),
        ("divmerge_divergence_correlation", 7, "js_spearman", "0.820", "js_spearman: the average"),
        ("divmerge_glue_cross_accuracy", 0, "cola", "82.30", "82.30 % is no share of 500"),
    ],
)
def test_a_number_that_did_not_fit_would_be_found(  # noqa: PLR0917
    monkeypatch, table, row, column, value, said
):
    def altered(name):
        rows = published_rows(name)
        if name == table:
            rows[row][column] = value
        return rows

    monkeypatch.setattr(module, "published_rows", altered)
    assert any(said in one.text for one in disagreements(table))


NOISE = np.random.default_rng(0).normal(0, 0.02, 400)


def drawn(row, **tasks):
    """A row with resamples: noise that differs between rows of different labels."""
    own = np.random.default_rng(list(row.label.encode())).permutation(NOISE)
    values = {task: estimate.value + own for task, estimate in row.tasks.items()}
    return replace(row, resampled=Performance(row.average.value + own, values))


def of_methods(make_comparison, make_row, values, **changes):
    comparison = make_comparison(1)
    tasks = list(comparison.suite.tasks)
    rows = [row for row in comparison.rows if row.role != "merged"]
    for (label, method, protocol, seed), value in values.items():
        row = make_row(
            label if seed is None else f"{label}, {protocol}, seed {seed}",
            "merged",
            dict.fromkeys(tasks, value),
            title=label,
            method=method,
            protocol=protocol,
            seed=seed,
            n={"ifeval": 100, "gsm8k": 100},
        )
        rows.append(drawn(row))
    return replace(comparison, rows=tuple(rows), **changes)


def test_our_performance_has_blocks_by_protocol_n_seeds_and_ties(make_comparison, make_row):
    run = of_methods(
        make_comparison,
        make_row,
        {
            ("ties", "ties", "post-hoc", 0): 0.50,
            ("ties", "ties", "post-hoc", 1): 0.52,
            ("metis", "metis", "many-shot", 0): 0.90,
            ("metis", "metis", "many-shot", 1): 0.91,
            ("other", "dare", "many-shot", 0): 0.905,
            ("other", "dare", "many-shot", 1): 0.90,
        },
    )
    made = make_table("metis-performance", "ours", {"tiny": run})
    assert titles(made) == ["tiny, post-hoc", "tiny, many-shot"]
    (ties,), (metis, other) = lines(made)
    assert (ties.label, ties.cells[0].text) == ("ties", "0.510")
    # Seeds disagree on which of the two is better, so neither is best.
    assert (metis.cells[0].text, metis.cells[0].mark, other.cells[0].mark) == ("0.905", "tie", "tie")
    assert metis.cells[0].interval.startswith("[") and ties.cells[0].mark == ""
    assert "tiny: n: ifeval 100, gsm8k 100; 2 seeds" in made.notes


def test_both_stand_beside_each_other_with_their_difference(make_comparison, make_row):
    run = of_methods(
        make_comparison,
        make_row,
        {("TIES, mine", "ties", "post-hoc", None): 0.70, ("new", "magmax", "post-hoc", None): 0.80},
    )
    made = make_table("metis-worst-task", "both", {"Gemma-2-2B": run})
    heads = [column.title for column in made.columns.values()]
    assert heads[:3] == ["average, ours", "average, paper", "average, difference"]
    ours = {line.label: [cell.text for cell in line.cells] for line in lines(made)[0]}
    assert ours["TIES, mine"][:3] == ["0.700", "0.726", "-0.026"]
    assert ours["new"][:3] == ["0.800", "–", "–"]
    alone = dict(zip(titles(made)[1:], lines(made)[1:], strict=True))
    assert {title: len(rows) for title, rows in alone.items()} == {
        f"{backbone}, only in the paper": 5 - (backbone == "Gemma-2-2B")
        for backbone in ("Gemma-2-2B", "Llama-3.2-3B", "Llama-3.1-8B", "Qwen-3-4B")
    }
    rows = list(csv.DictReader(io.StringIO(write(made, "csv"))))
    assert float(rows[0]["average, difference"]) == pytest.approx(0.700 - 0.726)


def test_an_ablation_is_beside_its_first_method(make_comparison, make_row):
    run = of_methods(
        make_comparison,
        make_row,
        {("METIS", "metis", "many-shot", None): 0.8, ("without the mask", "metis", "many-shot", None): 0.9},
    )
    made = make_table("metis-ablation", "ours", {"tiny": run})
    ((whole, without),) = lines(made)
    assert whole.cells[1].text == "–"
    assert without.cells[1].text == "+0.100"


@pytest.fixture
def families(make_comparison, make_row):
    """Every pair of three tasks, and all three; experts are scored on the tasks of each."""
    comparison = make_comparison(1)
    found = {}
    for subset in (("a", "b"), ("a", "c"), ("b", "c"), ("a", "b", "c")):
        benchmarks = {task: (comparison.suite.task_benchmarks[0].but(name=task),) for task in subset}
        scores = dict.fromkeys(subset, 0.5)
        rows = [
            make_row(
                f"{task} expert", "expert", dict.fromkeys(subset, 1.0), task=task,
                n=dict.fromkeys(subset, 50),
                scores={**scores, task: 0.8},
                resampled=replace(comparison.rows[0].resampled, scores=dict.fromkeys(subset, 0.5 + NOISE)),
            )
            for task in subset
        ]  # fmt: skip
        for label, method, settings in (
            ("average", "average", {}),
            ("JS LL", "divmerge", {"divergence": "js", "level": "layer"}),
        ):
            value = 0.9 if method == "divmerge" else 0.7 - 0.1 * (len(subset) - 2) + 0.05 * ("c" in subset)
            values = dict.fromkeys(subset, value)
            rows.append(make_row(label, "merged", values, method=method, settings=settings, title=label))
        suite = comparison.suite.but(name="glue-lab", tasks=benchmarks)
        found[subset] = replace(comparison, suite=suite, rows=tuple(rows))
    return {"mine": found}


def test_pairs_and_numbers_of_tasks_in_percent(families):
    measured = families
    (rows,) = lines(make_table("divmerge-pairwise", "both", measured))[:1]
    mean = 100 * (0.7 + 0.75 + 0.75) / 3
    by_label = {line.label: [cell.text for cell in line.cells] for line in rows}
    assert by_label["average"] == [f"{mean:.2f}", "88.48", f"{mean - 88.48:+.2f}"]
    assert by_label["JS LL"][:2] == ["90.00", "99.18"]
    made = make_table("divmerge-scaling", "ours", measured)
    assert [line.label for line in lines(made)[0]] == ["2 tasks", "3 tasks", "average"]
    assert [line.cells[0].text for line in lines(made)[0]] == [
        f"{mean:.2f}", "65.00", f"{(mean + 65) / 2:.2f}",
    ]  # fmt: skip


def test_accuracies_of_every_expert_on_every_task(families):
    made = make_table("divmerge-cross-accuracy", "ours", families)
    table = {line.label: [cell.text for cell in line.cells] for line in lines(made)[0]}
    assert table == {
        "a": ["80.00", "50.00", "50.00"], "b": ["50.00", "80.00", "50.00"], "c": ["50.00", "50.00", "80.00"],
    }  # fmt: skip


def test_correlations_from_a_file_of_signals():
    tasks = ["a", "b", "c"]
    models = ["base", *tasks]
    divergences = {
        kind: {one: {two: float(one != two) * models.index(two) for two in models} for one in tasks}
        for kind in ("kl", "js")
    }
    scores = {
        model: {task: 1.0 if model == task else 0.5 - 0.1 * at for task in tasks}
        for at, model in enumerate(tasks)
    }
    report = SignalReport(
        tasks=tasks,
        models=models,
        losses={model: dict.fromkeys(tasks, 1.0) for model in models},
        divergences=divergences,
        cosines={},
        scores=scores,
        inputs=dict.fromkeys(tasks, 100),
        bounds=False,
    )
    made = make_table("divmerge-correlation", "both", {"lab": report})
    rows = {line.label: [cell.text for cell in line.cells] for line in lines(made)[0]}
    assert rows["a"][0] == "+1.000"
    # Ours is over other tasks than the paper's, so there is no difference.
    assert rows["average"] == ["+1.000", "+0.773", "–", "+1.000", "+0.818", "–"]


def test_what_is_not_there_is_said():
    with pytest.raises(InputError, match=r"no table 'metis'; there are .*metis-performance"):
        make_table("metis", "paper")
    with pytest.raises(InputError, match="not among the published tables"):
        make_table("metis-ablation", "both")
    with pytest.raises(InputError, match="name the runs"):
        make_table("metis-forgetting", "ours")


@pytest.mark.parametrize("name", PRINTED)
def test_latex_compiles_by_itself(name, tmp_path):
    text = write(make_table(name, "paper"), "latex")
    (tmp_path / "table.tex").write_text(text)
    begins, ends = text.count(r"\begin{"), text.count(r"\end{")
    assert begins == ends == 2
    columns = text.split(r"\begin{tabular}{")[1].split("}")[0]
    for line in text.splitlines():
        if line.endswith(r"\\") and "multicolumn" not in line:
            assert line.count(" & ") == len(columns) - 1
    if shutil.which("pdflatex"):
        done = subprocess.run(
            ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "table.tex"],
            cwd=tmp_path, capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-800:].decode(errors="replace")


@pytest.mark.parametrize("form", ["terminal", "markdown", "latex", "csv"])
@pytest.mark.parametrize("name", PRINTED)
def test_every_table_comes_in_every_form(name, form):
    assert write(make_table(name, "paper"), form)


def test_variants_of_a_method_and_both_protocols_have_columns_of_their_own(families, make_row):
    changed = {}
    for subset, run in families["mine"].items():
        more = [
            make_row(
                label, "merged", dict.fromkeys(subset, value), method="divmerge", title=title,
                protocol=protocol, settings={"divergence": "js", "level": "layer", "inputs": 10},
            )
            for label, title, protocol, value in (
                ("few", "few", "post-hoc", 0.2), ("JS LL, many-shot", "JS LL", "many-shot", 0.3),
            )
        ]  # fmt: skip
        changed[subset] = replace(run, rows=(*run.rows, *more))
    measured = {"mine": changed}
    made = make_table("divmerge-scaling", "ours", measured)
    pairs = dict(
        zip([column.title for column in made.columns.values()], lines(made)[0][0].cells, strict=True)
    )
    assert [pairs[title].text for title in ("JS LL", "few", "JS LL, many-shot")] == [
        "90.00",
        "20.00",
        "30.00",
    ]
    labels = {
        line.label: line.cells[0].text for line in lines(make_table("divmerge-pairwise", "ours", measured))[0]
    }
    assert labels["JS LL"] == "90.00" and labels["few"] == "20.00" and labels["JS LL, many-shot"] == "30.00"


def test_a_method_that_lacks_a_subset_has_no_mean_which_is_said(families):
    runs = dict(families["mine"])
    runs["a", "b"] = replace(
        runs["a", "b"], rows=tuple(row for row in runs["a", "b"].rows if row.label != "average")
    )
    made = make_table("divmerge-pairwise", "ours", {"mine": runs})
    assert {line.label: line.cells[0].text for line in lines(made)[0]}["average"] == "–"
    assert "average: ANP of 2 of 3 subsets of 2 tasks, so no mean" in made.notes


def test_pairs_that_differ_by_chance_are_a_tie(families, make_row):
    runs = {}
    for number, (subset, run) in enumerate(families["mine"].items()):
        values = dict.fromkeys(subset, 0.9 + (0.1, -0.1, 0.05, 0.0)[number])
        runs[subset] = replace(run, rows=(*run.rows, make_row("other", "merged", values, title="other")))
    (rows,) = lines(make_table("divmerge-pairwise", "ours", {"mine": runs}))
    marks = {line.label: line.cells[0].mark for line in rows}
    assert marks["JS LL"] == marks["other"] == "tie"
    for number, (subset, run) in enumerate(families["mine"].items()):
        values = dict.fromkeys(subset, 0.7 + (0.01, -0.01, 0.005, 0.0)[number])
        kept = [row for row in run.rows if row.label != "average"]
        runs[subset] = replace(run, rows=(*kept, make_row("other", "merged", values, title="other")))
    (rows,) = lines(make_table("divmerge-pairwise", "ours", {"mine": runs}))
    assert {line.label: line.cells[0].mark for line in rows} == {"other": "second", "JS LL": "best"}


def test_two_experiments_of_one_setting_are_refused(families):
    both = {"one": families["mine"], "two": families["mine"]}
    with pytest.raises(InputError, match="two of the experiments are of classification"):
        make_table("divmerge-pairwise", "ours", both)


def test_a_table_without_anything_to_show_is_refused(make_comparison, make_row):
    run = of_methods(make_comparison, make_row, {("ties", "ties", "post-hoc", None): 0.7})
    bare = replace(run, suite=run.suite.but(forgetting=()))
    with pytest.raises(InputError, match="there is nothing to show"):
        make_table("metis-forgetting", "ours", {"tiny": bare})


@pytest.mark.parametrize("text", ["λ = 0.3, Ω ≥ 2", "Größe ş ž", "ħ ſ 中 \x1b", "Α Β ο"])
def test_latex_shows_every_name(text, tmp_path):
    shown = latex_text(text)
    assert "\x1b" not in shown and all(part.isascii() or part in "ößşžüä" for part in shown)
    if shutil.which("pdflatex"):
        page = r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage[utf8]{inputenc}\begin{document}"
        (tmp_path / "x.tex").write_text(page + shown + r"\end{document}")
        done = subprocess.run(
            ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "x.tex"],
            cwd=tmp_path, capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-500:].decode(errors="replace")
