"""Normalised performance and its aggregates on numbers that can be worked out by hand."""

import pytest

from results import metrics
from results.errors import InputError
from results.suite import BenchmarkSpec, SuiteSpec

RIGHT = BenchmarkSpec(name="gsm8k", metric="exact_match", chance=0.25)
WRONG = BenchmarkSpec(name="xstest", metric="refusal", higher_is_better=False)
SUITE = SuiteSpec(name="s", tasks={"a": (RIGHT,), "b": (WRONG, BenchmarkSpec(name="m_arc", metric="acc"))})


def test_np_is_the_quotient_to_the_expert() -> None:
    assert metrics.normalised_performance(RIGHT, 0.3, 0.6) == metrics.NormalisedPerformance(0.5)


def test_where_lower_is_better_the_complements_are_divided() -> None:
    assert metrics.normalised_performance(WRONG, 0.6, 0.2).value == pytest.approx(0.4 / 0.8)


@pytest.mark.parametrize(("benchmark", "reference"), [(RIGHT, 0.0), (WRONG, 1.0), (WRONG, 7.5)])
def test_a_reference_of_zero_gives_no_value_and_a_note(benchmark: BenchmarkSpec, reference: float) -> None:
    found = metrics.normalised_performance(benchmark, 0.3, reference)
    assert found.value is None
    assert found.note is not None
    assert benchmark.name in found.note


@pytest.mark.parametrize(("reference", "noted"), [(0.2, True), (0.25, True), (0.26, False)])
def test_a_reference_at_or_below_chance_is_noted(reference: float, noted: bool) -> None:
    found = metrics.normalised_performance(RIGHT, 0.1, reference)
    assert found.value == pytest.approx(0.1 / reference)
    assert (found.note is not None and "gsm8k" in found.note) is noted


def test_average_is_over_benchmarks_and_anp_over_tasks() -> None:
    performance = {"gsm8k": 1.0, "xstest": 0.5, "m_arc": 0.3}
    tasks = metrics.task_performance(SUITE, performance)
    assert tasks == pytest.approx({"a": 1.0, "b": 0.4})
    assert metrics.average(SUITE, performance) == pytest.approx(0.6)
    assert metrics.anp(tasks) == pytest.approx(0.7)
    assert metrics.worst_task(tasks) == pytest.approx(0.4)
    assert metrics.gap(0.4, 0.6) == pytest.approx(-0.2)


@pytest.mark.parametrize(
    "performance", [{"gsm8k": 1.0, "xstest": 0.5}, {"gsm8k": 1.0, "xstest": 0.5, "m_arc": None}]
)
def test_an_incomplete_suite_has_task_values_but_no_aggregates(performance: dict[str, float | None]) -> None:
    tasks = metrics.task_performance(SUITE, performance)
    assert tasks == {"a": 1.0, "b": None}
    assert metrics.average(SUITE, performance) is None
    assert metrics.worst_task(tasks) is None
    assert metrics.anp(tasks) is None
    assert metrics.gap(None, 0.6) is None


def test_forgetting_is_negative_where_the_merged_checkpoint_is_worse() -> None:
    assert metrics.forgetting(RIGHT, 0.4, 0.7) == pytest.approx(-0.3)
    assert metrics.forgetting(WRONG, 0.7, 0.4) == pytest.approx(-0.3)
    assert metrics.forgetting(RIGHT, 0.4, None) is None


def test_average_from_tasks_asks_for_the_same_tasks() -> None:
    assert metrics.average_from_tasks({"a": 1.0, "b": 0.4}, {"a": 1, "b": 2}) == pytest.approx(0.6)
    with pytest.raises(InputError, match="task b"):
        metrics.average_from_tasks({"a": 1.0}, {"a": 1, "b": 2})
