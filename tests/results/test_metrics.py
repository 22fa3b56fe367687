"""Normalised performance and its aggregates on numbers that can be worked out by hand."""

import numpy as np
import pytest

from results import metrics
from results.errors import InputError
from results.suite import BenchmarkSpec, SuiteSpec

RIGHT = BenchmarkSpec(name="gsm8k", metric="exact_match", chance=0.25)
WRONG = BenchmarkSpec(name="xstest", metric="refusal", higher_is_better=False)
SUITE = SuiteSpec(name="s", tasks={"a": (RIGHT,), "b": (WRONG, BenchmarkSpec(name="m_arc", metric="acc"))})


def quotient(benchmark: BenchmarkSpec, score: float, reference: float) -> float:
    return metrics.normalised_performance(benchmark, np.array([score]), np.array([reference])).item()


def performance(pairs: dict[str, tuple[float, float]]) -> metrics.Performance:
    """Of a checkpoint with these scores, beside those of the experts."""
    scores = {name: {"m": np.array([own]), "e": np.array([expert])} for name, (own, expert) in pairs.items()}
    return metrics.performance(SUITE, scores, "m", {"a": "e", "b": "e"})


def test_np_is_the_quotient_to_the_expert() -> None:
    assert quotient(RIGHT, 0.3, 0.6) == 0.5
    assert metrics.reference_note(RIGHT, 0.6) is None


def test_where_lower_is_better_the_complements_are_divided() -> None:
    assert quotient(WRONG, 0.6, 0.2) == pytest.approx(0.4 / 0.8)


@pytest.mark.parametrize(("benchmark", "reference"), [(RIGHT, 0.0), (WRONG, 1.0), (WRONG, 7.5)])
def test_a_reference_of_zero_gives_no_value_and_a_note(benchmark: BenchmarkSpec, reference: float) -> None:
    assert np.isnan(quotient(benchmark, 0.3, reference))
    assert benchmark.name in (metrics.reference_note(benchmark, reference) or "")


@pytest.mark.parametrize(("reference", "noted"), [(0.2, True), (0.25, True), (0.26, False)])
def test_a_reference_at_or_below_chance_is_noted(reference: float, noted: bool) -> None:
    assert quotient(RIGHT, 0.1, reference) == pytest.approx(0.1 / reference)
    assert ("gsm8k" in (metrics.reference_note(RIGHT, reference) or "")) is noted


def test_average_is_over_benchmarks_and_anp_over_tasks() -> None:
    found = performance({"gsm8k": (0.6, 0.6), "xstest": (0.6, 0.2), "m_arc": (0.15, 0.5)})
    assert {task: value.item() for task, value in found.tasks.items()} == pytest.approx({"a": 1.0, "b": 0.4})
    assert found.average == pytest.approx(0.6)
    assert found.parts("anp") == pytest.approx(0.7)
    assert found.worst_task == pytest.approx(0.4)
    assert found.gap == pytest.approx(-0.2)


@pytest.mark.parametrize("scored", [{}, {"m_arc": (0.3, 0.0)}], ids=["unscored", "expert of zero"])
def test_an_incomplete_suite_has_task_values_alone(
    scored: dict[str, tuple[float, float]],
) -> None:
    found = performance({"gsm8k": (1.0, 1.0), "xstest": (0.5, 0.0), **scored})
    assert found.tasks["a"] == 1.0
    unknown = [found.tasks["b"], found.average, found.worst_task, found.parts("anp")[0], found.gap]
    assert np.isnan(unknown).all()


def test_forgetting_is_negative_where_the_merged_checkpoint_is_worse() -> None:
    suite = SuiteSpec(
        name="s", tasks={"b": (BenchmarkSpec(name="m_arc", metric="acc"),)}, forgetting=(RIGHT, WRONG)
    )
    scores = {
        "gsm8k": {"m": np.array([0.4]), "base": np.array([0.7])},
        "xstest": {"m": np.array([0.7]), "base": np.array([0.4])},
    }
    forgotten = metrics.performance(suite, scores, "m", {"b": "e"}, "base").forgetting
    assert {name: value.item() for name, value in forgotten.items()} == pytest.approx(
        {"gsm8k": -0.3, "xstest": -0.3}
    )
    assert metrics.performance(suite, scores, "m", {"b": "e"}).forgetting == {}


def test_average_from_tasks_asks_for_the_same_tasks() -> None:
    assert metrics.average_from_tasks({"a": 1.0, "b": 0.4}, {"a": 1, "b": 2}) == pytest.approx(0.6)
    with pytest.raises(InputError, match="task b"):
        metrics.average_from_tasks({"a": 1.0}, {"a": 1, "b": 2})
