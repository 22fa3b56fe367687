"""Figures and the table of a search: the front on validation and on test data, and which numbers matter."""

import pytest
from made_up_comparisons import search_of

from reports.figures.search import importance, pareto
from reports.tables.search import search_table
from reports.writers import write
from results.errors import InputError
from results.pareto import dominates, front


def test_a_front_has_all_points_that_none_dominates():
    points = [(1, 5), (3, 3), (2, 3), (5, 1), (3, 3), (0, 0), (1, 6)]
    assert front(points) == [1, 3, 6]
    assert front([]) == [] and front([(2.0,), (3.0,), (3.0,)]) == [1]
    assert dominates((3, 3), (2, 3)) and not dominates((3, 3), (3, 3)) and not dominates((5, 1), (3, 3))


def test_the_front_is_drawn_in_order_and_its_test_points_beside_it(drawn):
    report = search_of(2)
    (axes,) = drawn(pareto, report).axes
    lines = {line.get_marker(): line for line in axes.lines if line.get_linestyle() == "-"}
    points = sorted(trial.values for trial in report.front)
    assert list(zip(*lines["o"].get_data(), strict=True)) == points
    tested = {
        (float(line.get_xdata()[0]), float(line.get_ydata()[0])): line.get_markerfacecolor() != "white"
        for line in axes.lines
        if line.get_marker() == "D"
    }
    expected = {
        tuple(one.test for one in of.objectives): of.number in report.front_on_test for of in report.tested
    }
    assert tested == expected and len(set(expected.values())) == 2
    footer = axes.figure.texts[-1].get_text().replace("\n", " ")
    assert f"{len(report.front_on_test)} of {len(report.tested)} points of the front are of it" in footer
    assert (axes.get_xlabel(), axes.get_ylabel()) == report.objectives


def test_candidates_that_were_scored_in_part_are_told_apart(drawn):
    whole = search_of(2)
    trials = tuple(trial.but(estimated=not trial.front) for trial in whole.trials)
    for report, marker in ((whole, "."), (whole.but(trials=trials), "x")):
        (axes,) = drawn(pareto, report).axes
        others = {trial.values for trial in report.trials if not trial.front}
        assert {
            tuple(*zip(*line.get_data(), strict=True)) for line in axes.lines if line.get_marker() == marker
        } == others
        footer = axes.figure.texts[-1].get_text().replace("\n", " ")
        number = f", {len(others)} of them on a part of these" if marker == "x" else ""
        assert f"{len(report.trials)} candidates{number}. 1 seed" in footer


def test_of_three_objectives_every_two_have_a_panel(drawn):
    report = search_of(3)
    panels = [axes for axes in drawn(pareto, report).axes if axes.get_visible()]
    names = report.objectives
    pairs = [(names[0], names[1]), (names[0], names[2]), (names[1], names[2])]
    assert [(axes.get_xlabel(), axes.get_ylabel()) for axes in panels] == pairs


def test_bars_are_shares_with_the_largest_first(drawn):
    shares = {"ties.density": 0.2, "ties.scaling": 0.7, "weights.math": 0.1}
    report = search_of(1).but(importances={"instructions": shares})
    (axes,) = drawn(importance, report).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "ties.scaling", "ties.density", "weights.math",
    ]  # fmt: skip
    assert [bar.get_width() for bar in axes.patches] == [0.7, 0.2, 0.1]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # from the top
    with pytest.raises(InputError, match="too few candidates were tried"):
        drawn(importance, report.but(importances={"instructions": {}}))


def test_the_table_says_what_stopping_saved():
    report = search_of(1)
    trials = [trial.but(documents=100, stopped=not trial.front) for trial in report.trials]
    trials = [trial.but(documents=400) if trial.front else trial for trial in trials]
    trials[0] = trials[0].but(failed="it", values=(), documents=0, stopped=False, front=False)
    text = write(search_table(report.but(trials=tuple(trials))), "markdown")
    assert "30 candidates, 28 of them stopped early, 1 failed" in text
    read = 28 * 100 + 400
    assert f"{read} validation documents scored, {29 * 400} without stopping" in text
    assert f"({29 * 400 / read:.1f} times as many)" in text
