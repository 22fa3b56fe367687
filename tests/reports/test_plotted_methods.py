"""What figures show of a comparison: means over seeds, their intervals, and what it all rests on."""

import numpy as np
import pytest
from made_up_comparisons import comparison_of, with_holes

from reports.figures.palette import look
from reports.figures.plotted_methods import basis, documents, plotted_methods, seeds
from results.minima import mean_interval


def test_a_method_is_the_mean_of_its_seeds_with_an_interval_over_documents():
    comparison = comparison_of(2, 3, seeds=3, rounds=0)
    base, first, _ = plotted_methods(comparison)
    assert (base.label, base.is_base, first.label, len(first.rows)) == ("base", True, "average", 3)
    for statistic in ("average", "worst_task", "math"):
        values = first.of_seeds(statistic)
        interval = mean_interval([(row.resampled.parts(statistic), None) for row in first.rows])
        found = first.estimate(statistic)
        assert len(values) == 3
        assert found.value == pytest.approx(np.mean(values))
        assert (found.low, found.high) == (interval.low, interval.high)
    assert base.of_seeds("average") == []


def test_a_seed_without_a_value_leaves_none():
    _, first, second = plotted_methods(with_holes(comparison_of(2, 3, seeds=2, rounds=0)))
    assert first.estimate("average").value is None and first.of_seeds("average") == []
    assert first.estimate("math").value is not None and not first.is_complete
    assert second.estimate("average").value is not None


def test_the_basis_is_in_few_words():
    assert documents({"a": 100, "b": 100}) == "n = 100 documents in each of 2 benchmarks"
    assert documents({"a": 1319}) == "n = 1,319 documents (a)"
    assert documents({"a": 100, "b": 1319}) == "n, documents: a 100, b 1,319"
    assert documents({str(i): i for i in range(20)}) == "n = 1 to 19 documents in each of 19 benchmarks"
    assert documents({}, "inputs") == "n not known (inputs)"
    assert (seeds([1, 1]), seeds([3, 3]), seeds([1, 3], "dots")) == (
        "1 seed", "Means of 3 seeds", "Means of 1 to 3 seeds; dots: each seed",
    )  # fmt: skip


def test_what_was_left_out_is_told_and_not_counted():
    comparison = comparison_of(1, 2, rounds=0)
    left_out = type(comparison)(
        comparison.name, comparison.suite, comparison.rows, 1, 0, left_out={"math_test": "at chance"}
    )
    assert basis(left_out, plotted_methods(left_out)) == (
        "n = 100 documents (instructions_test). 1 seed. Bars: 95 % over documents. "
        "Left out, as the expert has not learned it: math_test."
    )


def test_sixty_methods_differ_by_marker_and_by_hatch():
    found = [look(index) for index in range(60)]
    assert len({(one.colour, one.marker) for one in found}) == 60
    assert len({(one.colour, one.hatch) for one in found}) == 60
