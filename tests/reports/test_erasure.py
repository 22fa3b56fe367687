"""Erasure profiles: each method's own ranking, a panel for each protocol."""

import pytest
from made_up_comparisons import comparison_of, with_holes

from reports.figures.erasure import erasure_profiles
from reports.figures.plotted_methods import plotted_methods
from results.errors import InputError


def profiles(axes):
    """Lines of the methods, less the one of the experts."""
    return [list(line.get_ydata()) for line in axes.lines if len(line.get_xdata()) > 2]


def test_a_line_falls_from_the_best_to_the_worst_task(drawn):
    comparison = comparison_of(3, 4, seeds=2)
    figure = drawn(erasure_profiles, comparison)
    assert [axes.get_title() for axes in figure.axes] == ["post-hoc", "many-shot"]
    for axes in figure.axes:
        wanted = [
            one for one in plotted_methods(comparison) if one.is_base or one.protocol == axes.get_title()
        ]
        values = [[one.estimate(task).value for task in comparison.suite.tasks] for one in wanted]
        assert profiles(axes) == [pytest.approx(sorted(of, reverse=True)) for of in values]
        assert list(axes.lines[1].get_xdata()) == [1, 2, 3, 4]


def test_every_method_is_in_the_legend_once(drawn):
    comparison = comparison_of(12, 4)
    (legend,) = drawn(erasure_profiles, comparison).legends
    titles = [method.title for method in plotted_methods(comparison)]
    named = [text.get_text() for text in legend.get_texts()]
    assert named == [*dict.fromkeys(titles), "post-hoc", "many-shot"]


def test_who_lacks_a_task_is_named_and_not_drawn(drawn):
    comparison = with_holes(comparison_of(2, 3, rounds=0))
    figure = drawn(erasure_profiles, comparison)
    assert figure.texts[-1].get_text().startswith("Without all tasks: average.\n")
    assert len(profiles(figure.axes[0])) == 2
    with pytest.raises(InputError, match="no checkpoint has all tasks"):
        rows = [row for row in comparison.rows if row.label == "average"]
        drawn(erasure_profiles, type(comparison)("x", comparison.suite, tuple(rows), 1, 0))
