"""Grouped bars: a bar for every method and group, at its height, and a dash where there is none."""

from itertools import pairwise

import pytest
from made_up_comparisons import comparison_of, with_holes

from reports.figures.bars import grouped_bars
from reports.figures.palette import look
from reports.figures.plotted_methods import plotted_methods


def groups(comparison):
    return ["average", *comparison.counted_tasks]


def bars(figure):
    return [bar for axes in figure.axes for bar in axes.patches]


@pytest.mark.parametrize(("methods", "tasks", "lines"), [(2, 4, 1), (12, 8, 3)])
def test_every_value_is_a_bars_height(drawn, methods, tasks, lines):
    comparison = comparison_of(methods, tasks, rounds=0)
    figure = drawn(grouped_bars, comparison)
    methods = plotted_methods(comparison)
    values = [one.estimate(name).value for name in groups(comparison) for one in methods]
    assert [bar.get_height() for bar in bars(figure)] == pytest.approx(values)
    assert len(figure.axes) == lines
    ticks = [label.get_text() for axes in figure.axes for label in axes.get_xticklabels()]
    assert ticks == groups(comparison)


def test_a_group_stands_over_its_name_and_bars_do_not_overlap(drawn):
    comparison = comparison_of(3, 2, rounds=0)
    figure = drawn(grouped_bars, comparison)
    each = len(plotted_methods(comparison))
    for number, tick in enumerate(figure.axes[0].get_xticks()):
        of_group = bars(figure)[number * each : (number + 1) * each]
        assert sum(bar.get_x() + bar.get_width() / 2 for bar in of_group) / each == pytest.approx(tick)
        assert all(one.get_x() + one.get_width() <= two.get_x() for one, two in pairwise(of_group))


def test_bars_have_intervals_and_the_marks_of_seeds(drawn):
    comparison = comparison_of(1, 1, seeds=3, rounds=0)
    figure = drawn(grouped_bars, comparison)
    method = plotted_methods(comparison)[1]
    segments = {tuple(map(float, line.get_ydata())) for line in figure.axes[0].lines}
    estimate = method.estimate("average")
    assert (estimate.low, estimate.high) in segments
    assert tuple(method.of_seeds("average")) in segments


def test_many_shot_is_filled_and_post_hoc_hollow_with_the_same_hatch(drawn):
    figure = drawn(grouped_bars, comparison_of(2, 1))
    _, _, _, once, many = bars(figure)[:5]  # the base, and two methods in two ways
    assert once.get_hatch() == many.get_hatch() == look(1).hatch
    assert once.get_facecolor() == (1, 1, 1, 1) and many.get_facecolor() == once.get_edgecolor()


def test_what_was_not_scored_has_a_dash_in_place_of_a_bar(drawn):
    whole = comparison_of(2, 3, rounds=0)
    figure = drawn(grouped_bars, with_holes(whole))
    assert len(bars(figure)) == len(bars(drawn(grouped_bars, whole))) - 2  # its average and its first task
    assert [text.get_text() for text in figure.axes[0].texts] == ["–", "–"]
