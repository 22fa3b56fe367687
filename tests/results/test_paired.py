"""Paired tests, held against scipy's, against what is known by hand, and against chance."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from made_up_family import record, rows
from scipy.stats import binomtest, false_discovery_control, kstest, permutation_test
from sklearn.metrics import matthews_corrcoef

from results.bootstrap import DocumentScores
from results.errors import InputError
from results.paired import (
    MCNEMAR,
    SWAPPED,
    BenchmarkDifference,
    benchmark_difference,
    holm,
    mcnemar,
    swapping,
)
from results.suite import BenchmarkSpec

pytestmark = pytest.mark.slow

ACCURACY = BenchmarkSpec(name="gsm8k", metric="acc")


def aligned(first: np.ndarray, second: np.ndarray, metric: str = "f1") -> DocumentScores:
    sides = {"first": np.atleast_2d(first), "second": np.atleast_2d(second)}
    return DocumentScores("gsm8k", metric, {"task": sides})


def compared(
    first: pd.DataFrame, second: pd.DataFrame, spec: BenchmarkSpec = ACCURACY, **options: int
) -> BenchmarkDifference:
    records = tuple(record(label, spec.name, one) for label, one in (("a", first), ("b", second)))
    return benchmark_difference(spec, records, (first, second), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("one", "two"), [(0, 0), (1, 0), (5, 5), (19, 5), (2, 14), (700, 640)])
def test_mcnemar_is_the_binomial_test_of_what_one_side_alone_got_right(one: int, two: int) -> None:
    expected = binomtest(one, one + two).pvalue if one + two else 1.0
    assert mcnemar([1] * one + [-1] * two + [0] * 7) == pytest.approx(expected)


def test_swapping_is_scipys_permutation_test_of_samples() -> None:
    generator = np.random.default_rng(0)
    first, second = generator.random(12) + 0.2, generator.random(12)
    exact = permutation_test(
        (first, second), lambda a, b, axis: (a - b).mean(axis=axis), permutation_type="samples"
    )
    assert swapping(aligned(first, second), swaps=20_000) == pytest.approx(exact.pvalue, abs=0.01)


def test_swapping_agrees_with_mcnemar_on_right_and_wrong() -> None:
    first, second = np.repeat([[1.0, 0, 1, 0], [0, 1, 1, 0]], [19, 5, 40, 36], axis=1)
    assert swapping(aligned(first, second), swaps=50_000) == pytest.approx(
        mcnemar([1] * 19 + [-1] * 5), abs=0.002
    )


@pytest.mark.full
def test_swapping_serves_matthews_correlation() -> None:
    generator = np.random.default_rng(4)
    gold = generator.integers(0, 2, 60)
    first, second = (np.where(generator.random(60) < share, gold, 1 - gold) for share in (0.85, 0.6))
    terms = [np.stack([gold, one, gold * one]).astype(float) for one in (first, second)]
    measured = abs(matthews_corrcoef(gold, first) - matthews_corrcoef(gold, second))
    by_hand = []
    for _ in range(2000):
        swap = generator.random(60) < 0.5
        one, two = np.where(swap, second, first), np.where(swap, first, second)
        by_hand.append(abs(matthews_corrcoef(gold, one) - matthews_corrcoef(gold, two)) >= measured - 1e-12)
    assert 0.001 < np.mean(by_hand) < 0.2
    assert swapping(aligned(*terms, "mcc")) == pytest.approx(np.mean(by_hand), abs=0.015)


@pytest.mark.parametrize("kind", ["graded", "tasks of different size"])
def test_between_equals_p_is_below_any_level_as_often_as_it_says(kind: str) -> None:
    found = []
    for seed in range(400):
        generator = np.random.default_rng(seed)
        sizes = (30, 50) if kind == "tasks of different size" else (60,)
        scores = {}
        for size in sizes:
            hard = generator.random(size)
            sides = np.clip(hard + generator.normal(scale=0.3, size=(2, size)), 0, 1)
            scores[f"task {size}"] = {"first": sides[:1], "second": sides[1:]}
        found.append(swapping(DocumentScores("gsm8k", "f1", scores), swaps=499, seed=seed))
    assert kstest(found, "uniform").pvalue > 0.01
    assert np.mean(np.array(found) <= 0.05) <= 0.07


def test_a_true_difference_is_found_and_no_difference_is_not() -> None:
    generator = np.random.default_rng(1)
    first = generator.random(200)
    assert swapping(aligned(first, first + generator.normal(0.1, 0.2, 200))) == 1 / 10_000
    assert swapping(aligned(first, first)) == 1


def test_swaps_are_drawn_by_seed_and_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = np.random.default_rng(2).random((2, 50))
    found = swapping(aligned(first, second))
    assert swapping(aligned(first, second)) == found
    assert swapping(aligned(first, second), seed=1) != found
    monkeypatch.setattr("results.paired._ENTRIES_AT_ONCE", 5000)
    assert swapping(aligned(first, second)) == pytest.approx(found, abs=0.02)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == pytest.approx([1, 1])
    assert holm([]) == []
    values = np.random.default_rng(0).random(20).tolist()
    assert all(a >= b for a, b in zip(holm(values), false_discovery_control(values), strict=True))


def test_right_and_wrong_answers_are_compared_by_mcnemar() -> None:
    first, second = [1] * 40 + [1] * 19 + [0] * 5 + [0] * 36, [1] * 40 + [0] * 19 + [1] * 5 + [0] * 36
    found = compared(rows(first), rows(second))
    assert (found.n, found.scores, found.wins, found.test) == (100, (0.59, 0.45), (19, 5), MCNEMAR)
    assert found.difference == pytest.approx(0.14)
    assert found.p_value == pytest.approx(binomtest(5, 24).pvalue)
    # The standard error of a paired difference: √((b + c)/n − d²) / √n.
    half = 1.96 * ((0.24 - 0.14**2) / 100) ** 0.5
    assert (found.low, found.high) == pytest.approx((0.14 - half, 0.14 + half), abs=0.015)


@pytest.mark.parametrize(
    ("scores", "metric"),
    [
        ([0.5] * 10, "f1"),
        ({"long": [1] * 10, "short": [0] * 5}, "acc"),
    ],
)
def test_where_a_toss_does_not_decide_the_score_sides_are_swapped(
    scores: Sequence[float], metric: str
) -> None:
    found = compared(rows(scores), rows(scores), BenchmarkSpec(name="coqa", metric=metric))
    assert (found.test, found.p_value, found.difference) == (SWAPPED, 1, 0)


def test_lmeval_tasks_of_one_size_are_tossed_together() -> None:
    first, second = rows({"de": [1] * 10, "fr": [1] * 10}), rows({"de": [0] * 8 + [1] * 2, "fr": [1] * 10})
    found = compared(first, second)
    assert (found.test, found.p_value) == (MCNEMAR, pytest.approx(2 / 2**8))


def test_where_lower_is_better_the_difference_and_the_wins_turn_round() -> None:
    spec = BenchmarkSpec(name="xstest", metric="refusal", higher_is_better=False)
    found = compared(rows([0] * 20), rows([1] * 5 + [0] * 15), spec)
    assert (found.scores, found.difference, found.wins) == ((0, 0.25), 0.25, (5, 0))
    assert 0 < found.low < 0.25 < found.high


def test_documents_are_listed_from_both_sides_those_furthest_apart_first() -> None:
    first = rows([0.9, 0.5, 0.2, 0.0, 0.3]).assign(target="18", output="from a")
    second = rows([0.8, 0.1, 0.2, 0.7, 0.4]).assign(target="18", output="from b")
    found = compared(first, second, BenchmarkSpec(name="coqa", metric="f1"), most=1)
    (ahead,), (behind,) = found.documents
    assert (found.wins, ahead.doc_id, behind.doc_id) == ((2, 2), 1, 3)
    assert (ahead.lm_eval_task, ahead.prompt, ahead.target) == ("task", "question 1", "18")
    assert (ahead.outputs, ahead.scores) == (("from a", "from b"), (0.5, 0.1))
    assert compared(first, second, BenchmarkSpec(name="coqa", metric="f1")).documents == ((), ())


def test_documents_without_texts_are_listed_too() -> None:
    bare = rows([1, 0]).drop(columns="prompt"), rows([0, 0]).drop(columns="prompt")
    (found,) = compared(*bare, most=5).documents[0]
    assert (found.prompt, found.target, found.outputs) == (None, None, (None, None))


def test_scores_of_different_documents_are_refused() -> None:
    with pytest.raises(InputError, match=r"gsm8k: .* were scored on different documents"):
        compared(rows([1, 0]), rows([1, 0, 1]))
