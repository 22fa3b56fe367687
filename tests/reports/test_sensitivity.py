"""Sensitivity to a setting: which values make a line, where they stand, and what is only tried."""

from dataclasses import replace

import pytest
from made_up_comparisons import changed, comparison_of, row_of, sweep_of

from reports.figures.plotted_methods import plotted_methods
from reports.figures.sensitivity import sensitivity
from results.errors import InputError
from results.merge_trace import MergeTrace, MethodIdentity, Trial


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
    average, worst = drawn(sensitivity, comparison, setting="scaling").axes
    methods = plotted_methods(comparison, base=False)
    for axes, statistic in ((average, "average"), (worst, "worst_task")):
        for number in range(2):
            values = [one.estimate(statistic).value for one in methods[5 * number : 5 * number + 5]]
            assert line(axes, number) == ([0.1, 0.3, 0.5, 0.7, 1.0], pytest.approx(values))
    assert (average.get_title(), worst.get_title()) == ("average", "worst task")


def test_what_was_tried_on_validation_data_is_hollow(drawn):
    figure = drawn(sensitivity, sweep_of(1), setting="scaling")
    tried = figure.axes[0].lines[-1]
    assert list(tried.get_xdata()) == [0.2, 0.4, 0.6] and list(tried.get_ydata()) == [0.2, 0.4, 0.6]
    assert tried.get_markerfacecolor() == "white"
    assert "tried on validation data" in [text.get_text() for text in figure.legends[0].get_texts()]
    assert "Tried: n = 50 validation examples in each of 4 tasks." in figure.texts[-1].get_text()


def test_of_what_was_tried_with_other_settings_the_best_counts(drawn):
    whole = comparison_of(0, 2)
    tasks = list(whole.suite.tasks)
    tried = [
        Trial(settings={"a": a, "b": b}, tasks=dict(zip(tasks, values, strict=True)), value=0)
        for a, b, values in [(1, 1, (0.2, 0.4)), (1, 2, (0.1, 0.8)), (2, 1, (0.5, 0.5)), (3, 1, (0.4, 0.4))]
    ]
    alone = Trial(settings={"a": 4, "only": tasks[0]}, tasks={tasks[0]: 1.0}, value=1)
    about = {"settings": {"a": [1, 2, 3], "b": [1, 2]}, "trace": MergeTrace(trials=(alone, *tried))}
    row = row_of("ties", "merged", dict.fromkeys(tasks, 0.5), **about)
    average, worst = drawn(sensitivity, replace(whole, rows=(row,)), setting="a").axes
    assert line(average, 0) == ([1, 2, 3], pytest.approx([0.45, 0.5, 0.4]))
    assert line(worst, 0) == ([1, 2, 3], pytest.approx([0.2, 0.5, 0.4]))


def test_other_settings_part_lines_and_name_them(drawn):
    kl, js = swept([5, 10, 20], level="layer"), swept([5, 10, 20], level="task")
    rows = (*kl.rows, *(changed(row, label=f"{row.label}'", title=f"{row.label}'") for row in js.rows[1:]))
    figure = drawn(sensitivity, replace(kl, rows=rows), setting="inputs")
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named == ["KL (level=layer)", "KL (level=task)"]


def identity_of(settings, weighting="uniform"):
    """As a run has it."""
    return MethodIdentity(method="KL", settings=settings, weighting={"name": weighting, "temperature": 2.0})


def both_weightings():
    """The same method with two weightings, which its settings do not tell apart."""
    whole = swept([5, 10, 20])
    rows = [
        changed(
            row, label=f"{row.label} {weighting}", title=f"{row.label} {weighting}",
            identity=identity_of(row.entry.settings, weighting),
        )
        for weighting in ("uniform", "loss_gap")
        for row in whole.rows[1:]
    ]  # fmt: skip
    return replace(whole, rows=(whole.rows[0], *rows))


def test_what_a_methods_identity_tells_apart_is_a_line_of_its_own(drawn):
    figure = drawn(sensitivity, both_weightings(), setting="inputs")
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named == ["KL (weighting=uniform)", "KL (weighting=loss_gap)"]
    for number in range(2):
        assert line(figure.axes[0], number) == ([5, 10, 20], pytest.approx([0.0, 0.1, 0.2]))


def test_two_rows_that_nothing_tells_apart_are_refused_by_name(drawn):
    whole = swept([5, 10, 20])
    again = changed(whole.rows[1], label="again", title="again")
    with pytest.raises(InputError, match=r"'KL 5' and 'again' both have inputs = 5, and nothing"):
        drawn(sensitivity, replace(whole, rows=(*whole.rows, again)), setting="inputs")
    tuned = sweep_of(1)
    again = changed(tuned.rows[-1], label="again", title="again")
    with pytest.raises(
        InputError, match=r"'ties \(scaling tuned\)' and 'again' both have a choice of scaling"
    ):
        drawn(sensitivity, replace(tuned, rows=(*tuned.rows, again)), setting="scaling")


def test_wide_ranges_are_logarithmic(drawn):
    assert drawn(sensitivity, swept([5, 50, 500]), setting="inputs").axes[0].get_xscale() == "log"
    assert drawn(sensitivity, swept([5, 10, 20]), setting="inputs").axes[0].get_xscale() == "linear"


@pytest.mark.parametrize("values", [[None, 20, 10, 5], [None, 500, 50, 5]])
def test_the_default_stands_apart_from_numbers_at_their_places(drawn, values):
    figure = drawn(sensitivity, swept(values), setting="inputs")
    axes = figure.axes[0]
    assert line(axes, 0) == (sorted(values[1:]), pytest.approx([0.3, 0.2, 0.1]))
    (alone,) = [one for one in axes.lines if len(one.get_xdata()) == 1]
    at = alone.get_xdata()[0]
    assert at > max(values[1:]) and alone.get_ydata()[0] == 0.0
    named = {
        tick: label.get_text() for tick, label in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
    }
    assert named.pop(at) == "default" and all(float(name) == tick for tick, name in named.items())
    assert "default: not given" in figure.get_supxlabel()


def test_words_stand_in_a_row_after_numbers(drawn):
    figure = drawn(sensitivity, swept(["all", 20, 5]), setting="inputs")
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["5", "20", "all"]
    assert line(figure.axes[0], 0) == ([0, 1, 2], pytest.approx([0.2, 0.1, 0.0]))


def test_a_setting_without_several_values_is_refused_with_those_that_have(drawn):
    for setting, said in (
        ("density", "no method has several values of 'density'"),
        (None, "name the setting"),
    ):
        with pytest.raises(InputError, match=f"{said}.*; there are several of scaling$"):
            drawn(sensitivity, sweep_of(2), setting=setting)
    with pytest.raises(InputError, match="no method has several of any setting"):
        drawn(sensitivity, comparison_of(2), setting="scaling")
