"""The bootstrap, held against what is known of means of coin tosses."""

import time

import numpy as np
import pandas as pd
import pytest

from results import bootstrap
from results.errors import InputError
from results.intervals import percentile_interval
from results.metrics import performance
from results.suite import BenchmarkSpec, SuiteSpec

ONE = SuiteSpec(name="one", tasks={"math": (BenchmarkSpec(name="gsm8k", metric="acc"),)})


def table(scores: np.ndarray, task: str = "gsm8k") -> pd.DataFrame:
    return pd.DataFrame({"lm_eval_task": task, "doc_id": range(len(scores)), "score": scores})


def draws(seed: int = 0, resamples: int = 2000, **scores: np.ndarray) -> dict[str, np.ndarray]:
    aligned = bootstrap.align_documents(
        "gsm8k", "exact_match", {name: table(one) for name, one in scores.items()}
    )
    return bootstrap.resample_scores(aligned, seed=seed, resamples=resamples)


def width(values: np.ndarray) -> float:
    interval = percentile_interval(values)
    assert interval is not None
    return interval.high - interval.low


def test_the_interval_of_a_mean_of_coin_tosses_is_the_normal_one() -> None:
    tosses = np.repeat([0.0, 1.0], [280, 120])
    interval = percentile_interval(draws(model=tosses, resamples=20_000)["model"])
    assert interval is not None
    half = 1.96 * np.sqrt(0.3 * 0.7 / 400)
    assert interval.low == pytest.approx(0.3 - half, abs=0.004)
    assert interval.high == pytest.approx(0.3 + half, abs=0.004)


def test_documents_are_resampled_within_their_lm_eval_task() -> None:
    """Two tasks with constant scores, of very different size: nothing varies, and the mean is over tasks."""
    documents = pd.concat([table(np.zeros(90), "easy"), table(np.ones(10), "hard")])
    documents["item"] = [f"item {index}" for index in range(100)]
    aligned = bootstrap.align_documents("gsm8k", "exact_match", {"model": documents})
    assert np.array_equal(bootstrap.resample_scores(aligned, resamples=50)["model"], np.full(50, 0.5))


def test_the_same_documents_are_drawn_for_all_checkpoints() -> None:
    scores = np.random.default_rng(0).integers(0, 2, 100).astype(float)
    found = draws(one=scores, two=scores, opposite=1 - scores)
    assert np.array_equal(found["one"], found["two"])
    assert np.allclose(found["one"] + found["opposite"], 1)


def test_joint_resampling_shrinks_the_interval_of_a_quotient_of_like_checkpoints() -> None:
    generator = np.random.default_rng(1)
    expert = generator.integers(0, 2, 200).astype(float)
    alike = np.where(generator.random(200) < 0.05, 1 - expert, expert)
    unlike = generator.permutation(alike)
    found = {"gsm8k": draws(expert=expert, alike=alike, unlike=unlike)}
    joint, apart = (performance(ONE, found, name, {"math": "expert"}).average for name in ("alike", "unlike"))
    assert width(joint) < width(apart) / 2


def test_neither_order_nor_company_changes_the_draws() -> None:
    scores = np.random.default_rng(0).random(60)
    alone = draws(model=scores)["model"]
    assert np.array_equal(alone, draws(other=scores[::-1].copy(), model=scores)["model"])
    shuffled = bootstrap.align_documents(
        "gsm8k", "exact_match", {"model": table(scores).sample(frac=1, random_state=3)}
    )
    assert np.array_equal(alone, bootstrap.resample_scores(shuffled)["model"])
    assert not np.array_equal(alone, draws(seed=1, model=scores)["model"])


def test_benchmarks_are_drawn_apart_from_each_other() -> None:
    scores = np.random.default_rng(0).random(200)
    aligned = [
        bootstrap.align_documents(name, "exact_match", {"model": table(scores)})
        for name in ("gsm8k", "ifeval")
    ]
    one, other = (bootstrap.resample_scores(documents)["model"] for documents in aligned)
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.1


def test_many_documents_are_drawn_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = np.random.default_rng(0).random(60)
    monkeypatch.setattr(bootstrap, "_ENTRIES_AT_ONCE", 600)
    found = draws(model=scores, resamples=105)["model"]
    assert np.isfinite(found).all()
    assert len(np.unique(found)) > 100


def test_checkpoints_scored_on_different_documents_are_refused() -> None:
    with pytest.raises(InputError, match=r"gsm8k.*'two' and 'one'.*1 are not shared"):
        draws(one=np.ones(10), two=np.ones(11))


def test_a_document_scored_twice_is_refused() -> None:
    twice = pd.concat([table(np.ones(3)), table(np.ones(1))])
    with pytest.raises(InputError, match="gsm8k: 'one' was scored twice"):
        bootstrap.align_documents("gsm8k", "exact_match", {"one": twice})


def test_without_variation_the_aggregates_are_those_of_the_metrics() -> None:
    suite = SuiteSpec(
        name="s",
        tasks={
            "a": (BenchmarkSpec(name="x", metric="acc"),),
            "b": (
                BenchmarkSpec(name="y", metric="acc"),
                BenchmarkSpec(name="z", metric="err", higher_is_better=False),
            ),
        },
    )
    one = np.ones(3)
    scores = {
        "x": {"m": 0.3 * one, "e": 0.6 * one},
        "y": {"m": 0.4 * one, "e": 0.5 * one},
        "z": {"m": 0.6 * one, "e": 0.2 * one},
    }
    found = performance(suite, scores, "m", {"a": "e", "b": "e"}, resamples=3)
    assert np.allclose(found.tasks["a"], 0.5)
    assert np.allclose(found.tasks["b"], (0.8 + 0.5) / 2)
    assert np.allclose(found.average, (0.5 + 0.8 + 0.5) / 3)
    assert np.allclose(found.worst_task, 0.5)
    assert np.allclose(found.gap, 0.5 - 0.6)


def test_resamples_in_which_the_expert_scores_zero_are_dropped_and_counted() -> None:
    scores = {"gsm8k": {"m": np.array([0.2, 0.2, 0.2]), "e": np.array([0.0, 0.4, 0.8])}}
    found = performance(ONE, scores, "m", {"math": "e"}, resamples=3)
    assert np.isnan(found.average[0])
    assert found.average[1:] == pytest.approx([0.5, 0.25])
    assert np.isnan(found.benchmarks["gsm8k"]).sum() == 1
    assert percentile_interval(found.average) == percentile_interval(found.average[1:])


def test_a_benchmark_that_was_not_scored_leaves_no_interval() -> None:
    found = performance(ONE, {}, "m", {"math": "e"}, resamples=5)
    assert percentile_interval(found.average) is None


def test_six_benchmarks_of_200_documents_and_ten_checkpoints_take_less_than_a_second() -> None:
    generator = np.random.default_rng(0)
    scores = {f"model {index}": generator.random(200) for index in range(10)}
    start = time.process_time()
    for _ in range(6):
        draws(**scores)
    assert time.process_time() - start < 1.5
