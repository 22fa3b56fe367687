"""ANP over subsets of tasks: means, intervals over the tasks that they share, and seeds averaged first."""

from dataclasses import replace
from itertools import combinations
from statistics import fmean

import numpy as np
import pytest
from made_up_comparisons import suite_with

from reports.figures.subsets import performance_by_number
from reports.tables.subsets import subsets_report
from results.comparison import Estimate
from results.errors import InputError
from results.intervals import student_interval
from results.task_subsets import over_subsets, pseudo_values, subsets_of


def test_every_subset_once_in_the_order_of_the_tasks():
    assert subsets_of("abc", [2, 3, 2]) == [("a", "b"), ("a", "c"), ("b", "c"), ("a", "b", "c")]
    for size in (1, 4):
        with pytest.raises(InputError, match=f"Subsets of {size} of 3 tasks"):
            subsets_of("abc", [size])


@pytest.fixture
def comparisons(make_comparison, make_row):
    """Every pair of three tasks, merged by one method with two seeds; and all three once."""
    values = {("a", "b"): (0.2, 0.4), ("a", "c"): (0.5, 0.5), ("b", "c"): (0.9, 0.5), ("a", "b", "c"): (0.6,)}
    found = {}
    for subset, seeds in values.items():
        rows = [
            make_row(
                f"ties, seed {seed}", "merged", dict.fromkeys(subset, value), title="ties", seed=seed,
                n={f"{task}_test": 100 for task in subset},
            )
            for seed, value in enumerate(seeds)
        ]  # fmt: skip
        rows.append(make_row("expert", "expert", dict.fromkeys(subset, 1.0)))
        suite = suite_with({task: [f"{task}_test"] for task in subset})
        found[subset] = replace(make_comparison(0), name="-".join(subset), suite=suite, rows=tuple(rows))
    return found


def test_means_are_over_subsets_and_intervals_over_their_tasks(comparisons):
    pairs, whole = over_subsets(comparisons)
    assert (pairs.method, pairs.protocol, pairs.size, pairs.n) == ("ties", "post-hoc", 2, 3)
    # ab 0.3, ac 0.5, bc 0.7. Without a task 0.7, 0.5, 0.3 are left, so that the pseudo-values 3 · 0.5 − 2 U₋ₜ
    # have a standard deviation of 0.4; t(0.975, 2) = 4.302653.
    assert pairs.each == pytest.approx({"a": 0.1, "b": 0.5, "c": 0.9})
    half = 4.302653 * 0.4 / 3**0.5
    assert (pairs.mean, pairs.interval.low, pairs.interval.high) == pytest.approx(
        (0.5, 0.5 - half, 0.5 + half), abs=1e-6
    )
    assert (whole.size, whole.mean, whole.interval, whole.n) == (3, 0.6, None, 1)


def coverage(tasks: int, size: int, pairs: float, alone: float, replications: int) -> float:
    """How often the interval holds the mean over all tasks there could be.

    A subset's number is a mean over its tasks of independent effects, plus one over its pairs of tasks with
    so large effects, plus one of its own.
    """
    subsets = subsets_of("abcdefg"[:tasks], [size])
    generator = np.random.default_rng([tasks, size])
    found = []
    for _ in range(replications):
        of_task = dict(zip("abcdefg", generator.normal(size=7), strict=True))
        of_pair = {pair: pairs * generator.normal() for pair in combinations("abcdefg", 2)}
        each = {
            subset: fmean(map(of_task.__getitem__, subset))
            + fmean(of_pair[pair] for pair in combinations(subset, 2))
            + alone * generator.normal()
            for subset in subsets
        }
        values, _ = pseudo_values(each)
        interval = student_interval(list(values.values()))
        found.append(interval.low <= 0 <= interval.high)
    return float(np.mean(found))


@pytest.mark.parametrize(("tasks", "size"), [(3, 2), (5, 2), (5, 3), (5, 4)])
def test_the_interval_holds_95_times_of_100_though_subsets_share_tasks(tasks, size):
    """A share of .95 in 1000 replications has a standard error of .007."""
    assert 0.93 <= coverage(tasks, size, 0.0, 0.0, 1000) <= 0.97


@pytest.mark.parametrize(("pairs", "alone"), [(1.0, 0.0), (0.0, 0.5), (1.0, 0.5)])
@pytest.mark.parametrize("size", [2, 3, 4])
def test_it_holds_more_often_where_subsets_differ_by_more_than_their_tasks(size, pairs, alone):
    assert coverage(5, size, pairs, alone, 500) >= 0.94


def test_where_subsets_are_missing_there_is_no_interval_and_the_table_says_why(comparisons):
    rows = {subset: one for subset, one in comparisons.items() if subset != ("b", "c")}
    pairs, whole = over_subsets(rows)
    assert (pairs.n, pairs.interval, pairs.without) == (2, None, "2 of 3 subsets")
    assert (whole.interval, whole.without) == (None, "one subset")
    table = subsets_report([pairs, whole])
    assert "| 0.400 | 0.600 |" in table
    assert "No interval, because subsets are missing: ties (post-hoc) at 2 tasks (2 of 3 subsets)." in table
    assert "One subset has no interval" in table
    assert "No interval" not in subsets_report(over_subsets(comparisons))


def test_a_checkpoint_without_anp_is_in_no_mean(make_comparison, make_row):
    known = make_row("ties", "merged", {"a": 0.5, "b": 0.7})
    unknown = make_row("dare", "merged", {"a": 0.5, "b": 0.7}, anp=Estimate(None))
    (one,) = over_subsets({("a", "b"): replace(make_comparison(0), rows=(known, unknown))})
    assert (one.method, one.mean) == ("ties", pytest.approx(0.6))


def test_the_table_and_the_figure_have_every_method_and_number(comparisons, tmp_path):
    found = over_subsets(comparisons)
    table = subsets_report(found)
    assert "| method | protocol | 2 tasks (n = 3) | 3 tasks (n = 1) |" in table
    assert "| ties | post-hoc | 0.500 [" in table and "| 0.600 |" in table
    runs = list(comparisons.values())
    drawn = performance_by_number(runs, tmp_path / "anp.svg").read_text()
    assert ">ties</text>" in drawn and "number of merged tasks" in drawn
    assert ">(n = 3)</text>" in drawn and ">(n = 1)</text>" in drawn  # subsets of two, and of three
    assert "n = 100 documents in each of 3 benchmarks. Means of 1 to 2 seeds." in drawn
    with pytest.raises(InputError, match="no subset has an ANP"):
        performance_by_number([], tmp_path / "anp.svg")
    with pytest.raises(InputError, match="the runs a-b and a-b both merge a, b; give one of them"):
        performance_by_number([runs[0], *runs], tmp_path / "anp.svg")


def test_what_is_left_out_and_what_has_no_anp_is_told(comparisons, drawn):
    first, second, *others = comparisons.values()
    first = replace(first, left_out={"b_test": "b_test: the expert is at chance"})
    unknown = tuple(replace(row, anp=Estimate(None)) for row in second.rows)
    figure = drawn(performance_by_number, [first, replace(second, rows=unknown), *others])
    footer = " ".join(figure.texts[-1].get_text().split())
    assert "Left out, as the expert has not learned it: b_test (1 of 4 runs)." in footer
    assert "Subsets without an ANP, not drawn: 1 of 2 tasks." in footer
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["2\n(n = 2)", "3\n(n = 1)"]


def test_a_method_of_fewer_subsets_is_in_their_number(comparisons, drawn, make_row):
    first, *others = comparisons.values()
    more = make_row("dare", "merged", {"a": 0.5, "b": 0.7}, title="dare", seed=0)
    (axes,) = drawn(performance_by_number, [replace(first, rows=(*first.rows, more)), *others]).axes
    assert axes.get_xticklabels()[0].get_text() == "2\n(n = 1 to 3)"


@pytest.mark.parametrize("methods", [4, 5])
def test_intervals_of_many_methods_are_bars_beside_each_other(drawn, make_comparison, make_row, methods):
    bands = methods if methods == 4 else 0
    runs = []
    for tasks in map("".join, [*combinations("abcd", 2), *combinations("abcd", 3)]):
        rows = [
            make_row(f"m{i}", "merged", {task: 0.1 * i + ord(task) / 1000 for task in tasks}, title=f"m{i}")
            for i in range(methods)
        ]
        suite = suite_with({task: [f"{task}_test"] for task in tasks})
        runs.append(replace(make_comparison(0), suite=suite, rows=tuple(rows), name=tasks))
    (axes,) = drawn(performance_by_number, runs).axes
    assert len(axes.collections) == bands
    at = [line.get_xdata()[0] for line in axes.lines if line.get_marker() not in {"", "None"}]
    assert len(set(at)) == (1 if bands else methods)


def test_one_run_alone_is_no_figure_of_subsets(comparisons, tmp_path):
    first, *_ = comparisons.values()
    with pytest.raises(InputError, match="'a-b' is one run; give `subsets`"):
        performance_by_number([first], tmp_path / "anp.svg")
