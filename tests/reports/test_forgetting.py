"""Forgetting: the difference to the base, by benchmark and method."""

from dataclasses import replace

import pytest
from made_up_comparisons import comparison_of, with_holes

from reports.forgetting import forgetting
from reports.shown import shown
from results.errors import InputError


def test_dots_are_at_the_differences_and_marks_at_those_of_seeds(drawn):
    comparison = comparison_of(2, seeds=2, rounds=0)
    coqa, pubmedqa = drawn(forgetting, comparison).axes
    assert (coqa.get_title(), pubmedqa.get_title()) == ("coqa", "pubmedqa")
    methods = shown(comparison, base=False)
    for axes, name in ((coqa, "coqa"), (pubmedqa, "pubmedqa")):
        zero, *lines = [list(line.get_xdata()) for line in axes.lines]
        assert zero == [0, 0]
        for number, method in enumerate(methods):
            mean, each = method.forgetting(name)
            assert lines[3 * number + 1] == pytest.approx(each) and len(each) == 2
            assert lines[3 * number + 2] == [pytest.approx(mean)]
            assert mean == pytest.approx(sum(each) / 2)


def test_the_basis_is_the_benchmarks_that_watch(drawn):
    figure = drawn(forgetting, comparison_of(1, 4, rounds=0))
    assert figure.texts[-1].get_text() == "n, documents: coqa 600, pubmedqa 700. 1 seed."


def test_who_was_not_scored_is_called_incomplete(drawn):
    figure = drawn(forgetting, with_holes(comparison_of(2, rounds=0)))
    assert [text.get_text() for text in figure.axes[0].texts] == ["incomplete"]


def test_without_such_benchmarks_there_is_nothing_to_draw(drawn):
    comparison = comparison_of(1)
    with pytest.raises(InputError, match="watches forgetting; the suite may name some"):
        drawn(forgetting, replace(comparison, suite=replace(comparison.suite, forgetting=())))
