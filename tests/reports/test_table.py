"""Tables, read as their readers see them."""

import csv
import io
import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from manyshot.cli import main
from reports.table_model import Column, Group, Table, TableRow, Value, text_table
from reports.tables import TABLES, make_table, named_table
from reports.tables.comparison import comparison_table, render
from reports.terminal import terminal, wide_terminal
from reports.writers import write
from results.comparison import Comparison, ComparisonRow, Estimate
from results.errors import InputError

Make = Callable[[int], Comparison]
UNKNOWN = Estimate(None)


def incomplete(row: ComparisonRow, **changes: object) -> ComparisonRow:
    gone = {"average": UNKNOWN, "worst_task": UNKNOWN, "gap": UNKNOWN, "complete": (4, 5)}
    return replace(row, **{**gone, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 160])
@pytest.mark.parametrize("methods", [4, 12])
def test_every_number_and_name_can_be_read_at_any_width(
    make_comparison: Make, width: int, methods: int
) -> None:
    comparison = make_comparison(methods)
    text = terminal(comparison_table(comparison), width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    words = text.split()
    for row in comparison.rows:
        assert row.label in text
        for estimate in (row.average, row.worst_task, row.gap, *row.tasks.values()):
            assert f"{estimate.value:.3f}" in text
        assert f"[{row.average.low:.2f}, {row.average.high:.2f}]" in text
        assert f"{row.forgetting['coqa']:+.3f}" in text
    assert {"average", "worst", "gap", "coqa", "pubmedqa", *comparison.suite.tasks} <= set(words)


def test_at_120_columns_a_usual_suite_is_one_table(make_comparison: Make) -> None:
    assert terminal(comparison_table(make_comparison(4)), width=120).count("checkpoint  ") == 1


def test_without_a_terminal_there_are_no_codes_and_an_asterisk_marks_the_best(
    make_comparison: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    comparison = make_comparison(4)
    monkeypatch.setattr("sys.stdout", io.StringIO())
    text = render(comparison)
    best = max(row.average.value or 0 for row in comparison.rows if row.role == "merged")
    assert "\x1b" not in text
    assert f"{best:.3f}*" in text
    assert "*: the best, +: the second best." in text


def test_on_a_terminal_the_best_is_bold(make_comparison: Make) -> None:
    text = terminal(comparison_table(make_comparison(4)), styled=True, width=160)
    assert re.search(r"\x1b\[1m *0\.817", text)
    assert "*" not in text


def test_only_merged_checkpoints_compete_and_equals_share_the_place(make_comparison: Make) -> None:
    comparison = make_comparison(4)
    text = render(comparison, "markdown")
    assert all("**" not in line for line in text.splitlines() if line.startswith(("| base", "| math expert")))
    # All four are given the same difference on PubMedQA.
    assert text.count("**+0.019**") == 4
    assert len(re.findall(r"\*\*", text)) == 2 * (4 + 8)


def test_an_incomplete_suite_says_so(make_comparison: Make) -> None:
    comparison = make_comparison(4)
    rows = [*comparison.rows[:-1], incomplete(comparison.rows[-1], notes=("not scored: gsm8k",))]
    comparison = replace(comparison, rows=tuple(rows))
    markdown = render(comparison, "markdown")
    assert "| dare | incomplete (4/5) | – | – |" in markdown
    assert "- dare: not scored: gsm8k" in markdown
    assert re.search(r"dare +incomplete +\(4/5\)", terminal(comparison_table(comparison), width=140))
    assert r"incomplete {\scriptsize (4/5)} & -- & --" in render(comparison, "latex")
    (row,) = [row for row in csv.DictReader(io.StringIO(render(comparison, "csv"))) if row["label"] == "dare"]
    assert (row["average"], row["average_low"], row["benchmarks_scored"], row["benchmarks"]) == (
        "",
        "",
        "4",
        "5",
    )
    assert row["notes"] == "not scored: gsm8k"


def test_a_note_about_all_rows_is_said_once(make_comparison: Make) -> None:
    comparison = make_comparison(4)
    noted = replace(
        comparison, rows=tuple(replace(row, notes=("chance is 0.25",)) for row in comparison.rows)
    )
    assert terminal(comparison_table(noted), width=120).splitlines()[-1] == "- chance is 0.25"


def test_csv_has_full_precision_and_the_bounds(make_comparison: Make) -> None:
    comparison = make_comparison(4)
    rows = {row["label"]: row for row in csv.DictReader(io.StringIO(render(comparison, "csv")))}
    ties = comparison.row("ties")
    assert float(rows["ties"]["average"]) == ties.average.value
    assert float(rows["ties"]["gap_low"]) == ties.gap.low
    assert float(rows["ties"]["np_multilingual_high"]) == ties.tasks["multilingual"].high
    assert float(rows["ties"]["forgetting_coqa"]) == ties.forgetting["coqa"]
    assert rows["base"]["method"] == ""
    assert list(rows) == [row.label for row in comparison.rows]


def test_the_csv_of_every_comparison_has_the_same_bounds(make_comparison: Make) -> None:
    comparison = make_comparison(4)
    bare = replace(
        comparison,
        rows=tuple(
            replace(
                row,
                **{name: Estimate(0.5) for name in ("average", "worst_task", "gap")},
                tasks=dict.fromkeys(row.tasks, Estimate(0.5)),
            )
            for row in comparison.rows
        ),
    )
    heads = [render(each, "csv").splitlines()[0] for each in (comparison, bare)]
    assert heads[0] == heads[1] and "gap,gap_low,gap_high," in heads[0]


def test_latex_is_a_booktabs_table_with_as_many_cells_as_columns(make_comparison: Make) -> None:
    text = render(make_comparison(4), "latex")
    body = text[text.index(r"\begin{tabular}") :]
    assert body.startswith(r"\begin{tabular}{lrrrrrrrrr}" + "\n" + r"\toprule")
    assert body.endswith("\n".join([r"\bottomrule", r"\end{tabular}", r"\end{document}", ""]))
    assert text.startswith(r"\documentclass{article}") and r"\usepackage{booktabs}" in text
    lines = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert len(lines) == 1 + 1 + 4 + 4
    assert all(line.count(" & ") == 9 for line in lines)
    assert r"task\_arithmetic" in body
    assert r"\textbf{0.817} {\scriptsize [0.79, 0.84]}" in body
    assert r"$\Delta$ coqa" in body
    assert r"$-$0.326" in body


NASTY = "a|b_c*d\\e $f$ [bold]g[/] <i> 50% & {h} #~^\n\x1b[31mred"


def test_names_are_text_whatever_they_hold(
    make_comparison: Make, make_row: Callable[..., ComparisonRow]
) -> None:
    comparison = make_comparison(1)
    rows = (*comparison.rows, make_row(NASTY, "merged", dict.fromkeys(comparison.suite.tasks, 0.9)))
    comparison = replace(comparison, rows=rows)

    on_terminal = terminal(comparison_table(comparison), width=200)
    assert "\x1b" not in on_terminal
    assert "[bold]g[/]" in "".join(on_terminal.split("\n"))

    (line,) = [line for line in render(comparison, "markdown").splitlines() if line.startswith(r"| a\|b")]
    assert len(re.findall(r"(?<!\\)\|", line)) == 11
    assert r"b\_c\*d\\e \$f\$ \[bold\]g\[/\] \<i\>" in line

    (line,) = [line for line in render(comparison, "latex").splitlines() if line.startswith(r"a\textbar{}b")]
    label = line.split(" & ")[0] + " & " + line.split(" & ")[1]
    assert r"b\_c*d\textbackslash{}e \$f\$" in label
    assert r"50\% \& \{h\} \#\textasciitilde{}\textasciicircum{}" in line

    rows_read = list(csv.DictReader(io.StringIO(render(comparison, "csv"))))
    assert rows_read[-1]["label"] == NASTY


def test_a_comparison_without_merged_checkpoints_is_a_table_too(make_comparison: Make) -> None:
    comparison = make_comparison(4)
    experts = replace(comparison, rows=comparison.rows[:5])
    assert "safety expert" in render(experts, "terminal")
    assert "**" not in render(experts, "markdown")


def test_a_format_that_does_not_exist_lists_those_that_do(make_comparison: Make) -> None:
    with pytest.raises(InputError, match="'pdf'; there are terminal, markdown, latex, csv, html"):
        render(make_comparison(1), "pdf")  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["terminal", "markdown", "latex"])
def test_a_table_of_a_limited_run_says_so(make_comparison, form):
    limited = replace(make_comparison(2), limit=20)
    sentence = "limited: at most 20 documents of each lm-eval task were scored"
    assert sentence in " ".join(render(limited, form).split())
    assert "limited" not in render(make_comparison(2), form)


def test_the_csv_of_a_limited_run_has_the_limit(make_comparison):
    rows = list(csv.DictReader(io.StringIO(render(replace(make_comparison(2), limit=20), "csv"))))
    assert {row["limit"] for row in rows} == {"20"}


@pytest.fixture
def toy_table():
    """A table that one decorated function adds, and nothing else knows of."""

    @named_table("toy", "a toy", paper=lambda: TOY)
    def toy(runs):
        return replace(TOY, groups=(Group(tuple(TableRow(name, {"score": Value(0.25)}) for name in runs)),))

    yield
    del TABLES["toy"]


TOY = Table(
    {"score": Column("score", digits=2), "why": Column("why | because", "text")},
    (Group((TableRow("<b>", {"score": Value(0.5, 0.4, 0.6), "why": "it *is*"}), TableRow("c", {}))),),
    "model",
    "A toy.",
    ("a note",),
)


def test_a_table_is_added_by_one_decorated_function(toy_table, tmp_path, capsys):
    assert write(make_table("toy", "ours", {"x": None}), "csv") == "model,score,why | because\nx,0.25,\n"
    main(["list", "tables"])
    assert re.search(r"^toy +a toy", capsys.readouterr().out, re.MULTILINE)
    main(["report", "table", "toy", "--source", "paper", "--format", "html", "--store", str(tmp_path)])
    assert "<td><b>0.50</b></td>" in capsys.readouterr().out


def test_every_format_writes_one_model():
    assert write(TOY, "markdown") == (
        "| model | score | why \\| because |\n| --- | ---: | --- |\n"
        "| \\<b\\> | **0.50** | it \\*is\\* |\n| c | – | – |\n\nA toy. Bold: the best.\n\n- a note\n"
    )
    assert write(TOY, "html") == (
        "<table>\n<caption>A toy. Bold: the best.</caption>\n"
        "<thead><tr><th>model</th><th>score</th><th>why | because</th></tr></thead>\n<tbody>\n"
        "<tr><th>&lt;b&gt;</th><td><b>0.50</b></td><td>it *is*</td></tr>\n"
        "<tr><th>c</th><td>–</td><td>–</td></tr>\n</tbody>\n</table>\n<ul><li>a note</li></ul>\n"
    )
    assert write(TOY, "csv") == (
        "model,score,score_low,score_high,why | because\n<b>,0.5,0.4,0.6,it *is*\nc,,,,\n"
    )
    assert write(TOY, "terminal").splitlines()[:3] == [
        "model   score  why | because",
        "────────────────────────────",
        "<b>     0.50*  it *is*",
    ]


def test_a_terminal_table_is_as_wide_as_columns_says(monkeypatch):
    words = text_table(("name", "what it is"), [("first", "word " * 30), ("second", "more")])
    assert max(map(len, wide_terminal(words).splitlines())) > 150
    monkeypatch.setenv("COLUMNS", "40")
    text = wide_terminal(words)
    assert max(map(len, text.splitlines())) <= 40
    assert text.count("word") == 30
