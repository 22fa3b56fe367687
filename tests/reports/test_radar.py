"""Radars: what is drawn on which spoke."""

from dataclasses import replace
from math import isnan, pi

import pytest
from made_up_comparisons import TASKS, comparison_of, with_holes

from reports.figures.plotted_methods import plotted_methods
from reports.figures.radar import radars
from results.comparison import Estimate
from results.errors import InputError


def test_each_radar_has_the_base_and_its_method_in_both_protocols(drawn):
    comparison = comparison_of(2, 5)
    figure = drawn(radars, comparison)
    assert [axes.get_title() for axes in figure.axes] == ["average", "task_arithmetic"]
    for axes, title in zip(figure.axes, ("average", "task_arithmetic"), strict=True):
        wanted = [one for one in plotted_methods(comparison) if one.is_base or one.title == title]
        *lines, circle = axes.lines
        assert len(lines) == len(wanted) == 3
        for line, one in zip(lines, wanted, strict=True):
            values = [one.estimate(task).value for task in comparison.suite.tasks]
            assert list(line.get_ydata()) == pytest.approx([*values, values[0]])
            assert list(line.get_xdata()) == pytest.approx([2 * pi * i / 5 for i in range(6)])
        assert set(circle.get_ydata()) == {1}
        assert [label.get_text() for label in axes.get_xticklabels()] == TASKS[:5]


def test_a_line_is_broken_where_a_task_is_missing(drawn):
    figure = drawn(radars, with_holes(comparison_of(1, 3, rounds=0)))
    values = list(figure.axes[0].lines[1].get_ydata())
    assert [isnan(value) for value in values] == [True, False, False, True]


def test_long_names_are_numbers_told_below(drawn):
    comparison = comparison_of(1, 3, rounds=0, long=True)
    figure = drawn(radars, comparison)
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["1", "2", "3"]
    told = " ".join(figure.texts[-1].get_text().split())
    assert all(f"{i + 1}: {task}" in told for i, task in enumerate(comparison.suite.tasks))


def test_two_tasks_are_no_radar(drawn):
    with pytest.raises(InputError, match="made-up: a radar needs three tasks, and 2 count; show bars"):
        drawn(radars, comparison_of(1, 2))


def test_without_any_value_there_is_nothing_to_draw(drawn):
    whole = comparison_of(1, 3, rounds=0)
    rows = tuple(replace(row, tasks=dict.fromkeys(row.tasks, Estimate(None))) for row in whole.rows)
    with pytest.raises(InputError, match=r"made-up: nothing to draw, .* no checkpoint has a task's value"):
        drawn(radars, replace(whole, rows=rows))
