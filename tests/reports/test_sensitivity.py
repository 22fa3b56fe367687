"""Sensitivity to a setting: which values make a line, where they stand, and what is only tried."""

from dataclasses import replace

import pytest
from made_up_comparisons import comparison_of, row_of, sweep_of

from reports.sensitivity import sensitivity
from reports.shown import shown
from results.errors import InputError


def line(axes, number):
    """The number-th line of more than two points, the reference is of two."""
    found = [one for one in axes.lines if len(one.get_xdata()) > 2]
    return list(found[number].get_xdata()), list(found[number].get_ydata())


def swept(values, setting="inputs", **others):
    """A comparison of one method with these values of a setting; None is none."""
    whole = comparison_of(0, 2)
    rows = [
        row_of(
            f"KL {value}", "merged", dict.fromkeys(whole.suite.tasks, 0.1 * i), method="KL",
            settings=others | ({} if value is None else {setting: value}),
        )
        for i, value in enumerate(values)
    ]  # fmt: skip
    return replace(whole, rows=(*whole.rows, *rows))


def test_a_line_is_a_methods_mean_over_seeds_at_every_value(drawn):
    comparison = sweep_of(2, seeds=2)
    average, worst = drawn(sensitivity, comparison, "scaling").axes
    methods = shown(comparison, base=False)
    for axes, statistic in ((average, "average"), (worst, "worst_task")):
        for number in range(2):
            values = [one.estimate(statistic).value for one in methods[5 * number : 5 * number + 5]]
            assert line(axes, number) == ([0.1, 0.3, 0.5, 0.7, 1.0], pytest.approx(values))
    assert (average.get_title(), worst.get_title()) == ("average", "worst task")


def test_what_was_tried_on_validation_data_is_hollow(drawn):
    figure = drawn(sensitivity, sweep_of(1), "scaling")
    tried = figure.axes[0].lines[-1]
    assert list(tried.get_xdata()) == [0.2, 0.4, 0.6] and list(tried.get_ydata()) == [0.2, 0.4, 0.6]
    assert tried.get_markerfacecolor() == "white"
    assert "tried on validation data" in [text.get_text() for text in figure.legends[0].get_texts()]
    assert "Tried: n = 50 validation examples in each of 4 tasks." in figure.texts[-1].get_text()


def test_of_what_was_tried_with_other_settings_the_best_counts(drawn):
    whole = comparison_of(0, 2)
    tasks = list(whole.suite.tasks)
    tried = [
        {"settings": {"a": a, "b": b}, "tasks": dict(zip(tasks, values, strict=True)), "value": 0}
        for a, b, values in [(1, 1, (0.2, 0.4)), (1, 2, (0.1, 0.8)), (2, 1, (0.5, 0.5)), (3, 1, (0.4, 0.4))]
    ]
    alone = {"settings": {"a": 4, "only": tasks[0]}, "tasks": {tasks[0]: 1.0}, "value": 1}
    about = {"settings": {"a": [1, 2, 3], "b": [1, 2]}, "measured": {"tried": [alone, *tried]}}
    row = row_of("ties", "merged", dict.fromkeys(tasks, 0.5), **about)
    average, worst = drawn(sensitivity, replace(whole, rows=(row,)), "a").axes
    assert line(average, 0) == ([1, 2, 3], pytest.approx([0.45, 0.5, 0.4]))
    assert line(worst, 0) == ([1, 2, 3], pytest.approx([0.2, 0.5, 0.4]))


def test_other_settings_part_lines_and_name_them(drawn):
    kl, js = swept([5, 10, 20], level="layer"), swept([5, 10, 20], level="task")
    rows = (*kl.rows, *(replace(row, label=f"{row.label}'", title=f"{row.label}'") for row in js.rows[1:]))
    figure = drawn(sensitivity, replace(kl, rows=rows), "inputs")
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named == ["KL (level=layer)", "KL (level=task)"]


def test_wide_ranges_are_logarithmic_and_words_stand_in_a_row(drawn):
    assert drawn(sensitivity, swept([5, 50, 500]), "inputs").axes[0].get_xscale() == "log"
    assert drawn(sensitivity, swept([5, 10, 20]), "inputs").axes[0].get_xscale() == "linear"
    figure = drawn(sensitivity, swept([None, 20, 5]), "inputs")
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["5", "20", "default"]
    assert line(figure.axes[0], 0) == ([0, 1, 2], pytest.approx([0.2, 0.1, 0.0]))


def test_a_setting_without_several_values_is_refused_with_those_that_have(drawn):
    for setting, said in (
        ("density", "no method has several values of 'density'"),
        (None, "name the setting"),
    ):
        with pytest.raises(InputError, match=f"{said}.*; there are several of scaling$"):
            drawn(sensitivity, sweep_of(2), setting)
    with pytest.raises(InputError, match="no method has several of any setting"):
        drawn(sensitivity, comparison_of(2), "scaling")
