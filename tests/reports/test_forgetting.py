"""Forgetting: the difference to the base, by benchmark and method."""

from dataclasses import replace

import numpy as np
import pytest
from made_up_comparisons import comparison_of, with_holes

from reports.figures.dots import forgetting
from reports.figures.plotted_methods import plotted_methods
from results.errors import InputError


def test_dots_are_at_the_differences_and_marks_at_those_of_seeds(drawn):
    comparison = comparison_of(2, seeds=2, rounds=0)
    coqa, pubmedqa = drawn(forgetting, comparison).axes
    assert (coqa.get_title(), pubmedqa.get_title()) == ("coqa", "pubmedqa")
    methods = plotted_methods(comparison, base=False)
    for axes, name in ((coqa, "coqa"), (pubmedqa, "pubmedqa")):
        zero, *lines = [list(line.get_xdata()) for line in axes.lines]
        assert zero == [0, 0]
        for number, method in enumerate(methods):
            estimate, each = method.forgetting(name)
            assert lines[3 * number + 1] == pytest.approx(each) and len(each) == 2
            assert lines[3 * number + 2] == [pytest.approx(estimate.value)]
            assert estimate.value == pytest.approx(sum(each) / 2)


def test_bars_are_over_documents_of_the_mean_over_seeds(drawn):
    comparison = comparison_of(1, seeds=2, rounds=0)
    draws = np.linspace(-0.3, 0.1, 401)
    rows = [
        replace(
            row, forgetting={"coqa": -0.1 + 0.02 * i, "pubmedqa": None},
            resampled=replace(row.resampled, forgetting={"coqa": draws + 0.02 * i}),
        )
        for i, row in enumerate(comparison.rows[1:])
    ]  # fmt: skip
    figure = drawn(forgetting, replace(comparison, rows=(comparison.rows[0], *rows)))
    (axes,) = figure.axes
    assert list(axes.lines[1].get_xdata()) == pytest.approx([-0.28, 0.1])
    assert "Bars: 95 % over documents." in " ".join(figure.texts[-1].get_text().split())


def test_the_basis_is_the_benchmarks_that_watch(drawn):
    figure = drawn(forgetting, comparison_of(1, 4, rounds=0))
    assert figure.texts[-1].get_text() == "n, documents: coqa 600, pubmedqa 700. 1 seed."


def test_who_was_not_scored_is_called_incomplete(drawn):
    figure = drawn(forgetting, with_holes(comparison_of(2, rounds=0)))
    assert [text.get_text() for text in figure.axes[0].texts] == ["incomplete"]


def test_without_such_benchmarks_there_is_nothing_to_draw(drawn):
    comparison = comparison_of(1)
    with pytest.raises(InputError, match="watches forgetting; the suite may name some"):
        drawn(forgetting, replace(comparison, suite=comparison.suite.but(forgetting=())))
