"""Methods ranked in groups that cannot be told apart, with what a merge of theirs cost."""

import numpy as np
import pytest
from made_up_comparisons import changed, comparison_of, learned_of, row_of, with_holes

from manyshot.run_report import write_report
from reports.tables import make_table
from results.merge_trace import MergeTrace, MethodIdentity
from results.metrics import Performance


def ranks(comparison):
    return make_table("ranks", "ours", {comparison.name: comparison})


def shown(comparison):
    (group,) = ranks(comparison).groups
    return {row.label: row for row in group.rows}


def level(value, *, spread=0.01):
    """Changes that put a row's tasks at one value, with resamples that are its own."""
    draws = value + np.random.default_rng(round(value * 1000)).normal(0, spread, 400)
    row = row_of("any", "merged", {"math": value, "safety": value})
    resampled = Performance(draws, {"math": draws, "safety": draws})
    return {"average": row.average, "worst_task": row.worst_task, "resampled": resampled}


def test_what_documents_do_not_tell_apart_shares_a_rank_and_the_best_comes_first():
    comparison = comparison_of(4, 2, rounds=0)
    values = iter([0.50, 0.90, 0.505, 0.91])
    rows = [changed(row, **level(next(values))) if row.role == "merged" else row for row in comparison.rows]
    found = shown(type(comparison)("made-up", comparison.suite, tuple(rows)))
    assert list(found) == ["dare", "task_arithmetic", "ties", "average"]
    for statistic in ("average", "worst_task"):
        assert [row.value(f"{statistic} rank").number for row in found.values()] == [1, 1, 2, 2]
    assert found["dare"].value("average").number == 0.91


def test_a_merge_has_its_mean_seconds_and_largest_memory_without_training():
    comparison = comparison_of(2, 2, seeds=2, rounds=0)
    spent = iter([(1.0, 2**20), (3.0, 2**22)])

    def trace():
        seconds, memory = next(spent)
        spent_on = {"train": 99.0, "learn": seconds, "signals": 0.001, "merge": 1.0}
        learned = learned_of(["instructions"], 1)
        return MergeTrace(seconds=spent_on, memory=memory, learned=learned)

    others = MergeTrace(seconds={"signals": 0.001, "merge": 1.0})
    rows = [
        changed(row, trace=trace() if row.title == "average" else others) for row in comparison.rows
    ]  # fmt: skip
    table = ranks(type(comparison)("made-up", comparison.suite, tuple(rows)))
    row = next(row for group in table.groups for row in group.rows if row.label == "average")
    assert (row.value("seconds").number, row.value("memory").number) == (pytest.approx(3.001), 4.0)
    assert "look at validation data before they merge: average" in table.notes


def test_the_table_names_what_is_measured_on_validation_inputs():
    comparison = comparison_of(2, 2, rounds=0)
    traces = {"average": {"merge": 1.0}, "task_arithmetic": {"measure": 2.0, "merge": 1.0}}
    rows = [
        changed(row, trace=MergeTrace(seconds=traces.get(row.title, {}))) if row.role == "merged" else row
        for row in comparison.rows
    ]
    notes = ranks(type(comparison)("made-up", comparison.suite, tuple(rows))).notes
    assert "look at validation data before they merge: task_arithmetic" in notes


@pytest.mark.parametrize("settings", [{}, {"scaling": 0.3}])
def test_the_table_says_so_where_nothing_was_tuned(settings):
    comparison = comparison_of(2, 2, rounds=0)
    rows = [
        changed(row, identity=MethodIdentity(method="m", settings=settings)) if row.role == "merged" else row
        for row in comparison.rows
    ]
    notes = ranks(type(comparison)("made-up", comparison.suite, tuple(rows))).notes
    assert any("nothing was tuned" in note for note in notes) == (not settings)


def test_what_lacks_a_benchmark_has_no_rank_and_comes_last():
    comparison = with_holes(comparison_of(3, 2, rounds=0))
    rows = list(shown(comparison).values())
    assert rows[-1].value("average rank").number is None
    assert {row.value("average rank").number for row in rows[:-1]} <= {1, 2}


def test_a_report_has_the_ranks_where_there_are_several_methods(tmp_path, monkeypatch):
    for module in ("dots.normalised_performance", "scatter.average_against_worst"):
        monkeypatch.setattr(f"reports.figures.{module}", lambda comparison, path: path)
    several, alone = comparison_of(3, 2, rounds=0), comparison_of(1, 2, rounds=0)
    assert tmp_path / "ranks.md" in write_report(several, tmp_path)
    text = (tmp_path / "ranks.md").read_text()
    assert "[ ]: 95 % over documents." in text
    first = text.splitlines()[2]
    best = max((row for row in several.rows if row.role == "merged"), key=lambda row: row.average.value)
    assert first.replace("\\", "").startswith(f"| {best.label} | 1 |")
    assert tmp_path / "ranks.md" not in write_report(alone, tmp_path)
    assert not (tmp_path / "ranks.md").exists()
