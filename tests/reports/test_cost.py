"""Cost against score: seconds over all rounds, and memory where every merge's is known."""

from dataclasses import replace

import pytest
from made_up_comparisons import changed, comparison_of, row_of, with_holes

from reports.figures.cost import cost_against_score
from reports.figures.plotted_methods import plotted_methods
from reports.merge_cost import cost_of
from results.errors import InputError
from results.merge_trace import MergeTrace


def points(axes):
    """Middles of the markers, less those of seeds."""
    return [(line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines if line.get_markersize() == 7]


def test_rounds_of_a_checkpoint_are_summed_and_its_largest_merge_counts():
    comparison = comparison_of(2, 2, rounds=3)
    rounds = [
        changed(one, trace=one.entry.trace.model_copy(update={"memory": 7 * one.entry.round_index}))
        for one in comparison.rounds
    ]
    once, many = (row for row in comparison.rows if row.title == "task_arithmetic")
    assert cost_of(once, rounds).seconds == {"train": 80, "merge": 2}
    cost = cost_of(many, rounds)
    assert (cost.seconds, cost.memory) == ({"train": 240, "merge": 6}, 21)
    rounds[-1] = changed(rounds[-1], trace=MergeTrace())
    assert cost_of(many, rounds).memory is None
    resumed = {"train": 80.0, "signals": 0.001}
    rounds[-1] = changed(rounds[-1], trace=MergeTrace(seconds=resumed))
    assert cost_of(many, rounds).seconds == {}
    assert cost_of(changed(once, trace=MergeTrace(seconds=resumed)), rounds).seconds == {}


def test_points_stand_at_seconds_and_memory_and_the_average(drawn):
    comparison = comparison_of(3, 2, seeds=2, rounds=0)
    seconds, memory = drawn(cost_against_score, comparison).axes
    averages = [one.estimate("average").value for one in plotted_methods(comparison, base=False)]
    assert points(seconds) == [pytest.approx(one) for one in zip([2, 2, 2], averages, strict=True)]
    mib = [(300e6 + 50e6 * i) / 2**20 for i in range(3)]
    assert points(memory) == [pytest.approx(one) for one in zip(mib, averages, strict=True)]
    assert seconds.get_xlabel() == "seconds (merge)" and memory.get_xlabel() == "memory of a merge, MiB"
    assert [axes.get_xlim()[0] for axes in (seconds, memory)] == [0, 0]
    assert "Training of the experts, which methods merged once share, took 40 to 120 s." in " ".join(
        seconds.figure.texts[-1].get_text().split()
    )
    assert seconds.get_ylabel() == "average normalised performance"


def test_training_in_rounds_is_a_panel_of_the_methods_that_do_it(drawn):
    comparison = comparison_of(2, 2, rounds=3)
    _, train, _ = drawn(cost_against_score, comparison).axes
    assert train.get_xlabel() == "seconds (train, over all rounds)"
    many = [one for one in plotted_methods(comparison, base=False) if one.protocol == "many-shot"]
    averages = [one.estimate("average").value for one in many]
    assert points(train) == [pytest.approx(one) for one in zip([120, 240], averages, strict=True)]


def test_without_memory_there_are_seconds_alone_and_the_base_is_a_line(drawn):
    comparison = comparison_of(2, 2, rounds=0)
    rows = [
        changed(row, trace=row.entry.trace and row.entry.trace.model_copy(update={"memory": None}))
        for row in comparison.rows
    ]
    (axes,) = drawn(cost_against_score, replace(comparison, rows=tuple(rows))).axes
    (base,) = [line for line in axes.lines if line.get_linestyle() == ":"]
    assert set(base.get_ydata()) == {comparison.rows[0].average.value}


def test_who_has_no_average_or_no_seconds_is_named(drawn):
    comparison = with_holes(comparison_of(2, 2, rounds=0))
    text = drawn(cost_against_score, comparison).texts[-1].get_text()
    assert text.startswith("Without an average, or without seconds: average.\n")
    row = row_of("ties", "merged", {"a": 0.5})
    with pytest.raises(InputError, match="the seconds that it took, which `manyshot run` notes"):
        drawn(cost_against_score, replace(comparison, rows=(row,)))
