"""Halving stops a candidate where the upper end of its interval lies below 0, by closed forms."""

import numpy as np
import pandas as pd
import pytest
from searched_family import made, written

from manyshot.run import RunContext
from manyshot.search.candidates import cannot_reach
from manyshot.search.file import Halving, load_search
from manyshot.search.objective import Objective, objective_of
from manyshot.search.run import run_search
from merging.repeated import RepeatedMerge
from results.bootstrap import align_documents, resample_scores
from results.errors import InputError
from results.metrics import Performance
from results.store import Store

AVERAGE, WORST = Objective({"average": 1.0}), Objective({"worst_task": 1.0})


def performance_of(**tasks):
    drawn = {task: np.asarray(draws, dtype=float) for task, draws in tasks.items()}
    return Performance(average=np.mean(list(drawn.values()), axis=0), tasks=drawn)


def uniform(low, high):
    """Differences of which any share lies below a known number: a straight line."""
    return np.linspace(low, high, 2001)


@pytest.mark.parametrize("confidence", [0.975, 0.8, 0.5])
def test_a_candidate_is_stopped_where_its_upper_limit_lies_below_zero(confidence):
    """Of draws on a straight line from −1 to c a share p lies below −1 + p (1 + c)."""
    better = np.random.default_rng(0).uniform(0.5, 1, 2001)
    zero = (1 - confidence) / confidence
    for end, stops in ((zero - 1e-3, True), (zero + 1e-3, False)):
        candidate = performance_of(math=better + uniform(-1, end))
        assert cannot_reach([AVERAGE], candidate, performance_of(math=better), confidence) is stops
    assert not cannot_reach([AVERAGE], performance_of(math=better), performance_of(math=better), confidence)


def test_of_several_objectives_it_must_be_worse_in_all():
    better = performance_of(math=np.full(2001, 0.9), safety=np.full(2001, 0.9))
    below, above = uniform(0.1, 0.2), uniform(0.9, 1.0)
    objectives = [Objective({"math": 1.0}), Objective({"safety": 1.0})]
    assert cannot_reach(objectives, performance_of(math=below, safety=below), better, 0.975)
    assert not cannot_reach(objectives, performance_of(math=below, safety=above), better, 0.975)
    assert cannot_reach(objectives[:1], performance_of(math=below, safety=above), better, 0.975)


def test_the_worst_task_may_be_another_ones():
    better = performance_of(math=np.full(2001, 0.6), safety=np.full(2001, 0.9))
    candidate = performance_of(math=uniform(0.9, 1.0), safety=uniform(0.4, 0.5))
    assert cannot_reach([WORST], candidate, better, 0.975)
    assert not cannot_reach(
        [AVERAGE], performance_of(math=uniform(0.9, 1.0), safety=uniform(0.5, 0.6)), better, 0.975
    )


@pytest.mark.parametrize(("lost", "stops"), [(3, False), (4, True)])
def test_with_documents_it_takes_four_that_only_the_better_one_got_right(lost, stops):
    """A resample of n documents has none of k such with a chance of (1 − k/n)^n, about e^−k.

    The upper end is below 0 where that is less than 2.5 %: e⁻³ is 5.0 %, and e⁻⁴ 1.8 %.
    """
    number = 200
    assert ((1 - lost / number) ** number < 0.025) is stops
    right = np.ones(number)
    scores = {"better": right, "candidate": np.where(np.arange(number) < lost, 0.0, right)}
    tables = {
        name: pd.DataFrame({"lm_eval_task": "task", "doc_id": range(number), "score": of})
        for name, of in scores.items()
    }
    drawn = resample_scores(align_documents("task", "acc", tables))
    performances = {name: performance_of(math=draws) for name, draws in drawn.items()}
    assert cannot_reach([AVERAGE], performances["candidate"], performances["better"], 0.975) is stops


def test_a_mix_is_the_weighted_sum_of_what_it_names():
    measured = performance_of(math=[0.4], safety=[0.8], code=[0.9])
    mix = objective_of({"average": 0.5, "worst_task": 0.25, "code": 0.25}, ["math", "safety", "code"])
    assert mix.value(measured) == pytest.approx(0.5 * 0.7 + 0.25 * 0.4 + 0.25 * 0.9)
    assert mix.title == "0.5 average + 0.25 worst_task + 0.25 code"
    assert objective_of("worst_task", ["math"]).title == "worst_task"
    with pytest.raises(InputError, match="no objective 'law'"):
        objective_of({"law": 1.0}, ["math"])


def test_parts_end_where_the_factor_says():
    assert Halving().shares == (0.125, 0.25, 0.5, 1.0)
    assert Halving(first=0.3, factor=3.0).shares == pytest.approx((0.3, 0.9, 1.0))


BY_LOSSES = """
name: by-losses
tasks:
  answers:
    benchmarks: [lab_yes_no]
    validation: &problems
      generate: !function tasks.lab_math.problems.splits
      split: validation
      prompt: "Question: {{question}}\\nAnswer:"
      completion: " {{answer}}"
  languages:
    benchmarks: [lab_multilingual]
    validation: *problems
"""


@pytest.mark.slow
def test_a_stopped_candidate_saves_documents_and_has_an_estimate(tmp_path):
    """Models with random weights are told apart by likelihoods, which stand in for scores."""
    folder = made(tmp_path)
    (folder / "suite.yaml").write_text(BY_LOSSES)
    space = {"methods": [{"name": "task_arithmetic", "scaling": {"low": 0.0, "high": 1.0}}]}
    changes = {"space": space, "objective": "answers", "sampler": "random", "budget": {"evaluations": 8}}
    halved = load_search(written(folder, **changes, halving={"first": 0.25}))
    whole = load_search(written(folder, **changes))
    store = Store(folder / "store")
    report, all_read = (
        run_search(search, "search", RunContext(store, folder / out)).report
        for search, out in ((halved, "halved"), (whole, "whole"))
    )
    full = all_read.documents
    assert {trial.documents for trial in all_read.trials} == {full} == {report.documents}
    stopped = [trial for trial in report.trials if trial.stopped]
    assert stopped and {trial.documents for trial in stopped} <= {full // 4, full // 2}
    assert report.read == sum(trial.documents for trial in report.trials) < full * len(report.trials)
    of_all = {trial.number: trial.values[0] for trial in all_read.trials}
    for trial in report.trials:
        before = [one.values[0] for one in report.trials[: trial.number] if not one.stopped]
        if trial.stopped:
            assert of_all[trial.number] < max(before)  # rightly
            assert trial.values[0] < max(before)
        else:
            assert trial.values[0] == pytest.approx(of_all[trial.number])
    assert report.front[0].number == all_read.front[0].number


@pytest.mark.slow
def test_candidates_from_memory_score_as_from_disk(tmp_path, monkeypatch):
    folder = made(tmp_path)
    search = load_search(written(folder, limit=12, budget={"evaluations": 3}))
    trials = []
    for place in ("memory", "disk"):
        monkeypatch.setattr(RepeatedMerge, "stays_beside_base", place == "memory")
        context = RunContext(Store(folder / f"{place}-store"), folder / place)
        trials.append(run_search(search, "search", context).report.trials)
    without_seconds = [[trial.but(seconds=0.0) for trial in of] for of in trials]
    assert without_seconds[0] == without_seconds[1]
    records = [
        {path.name for path in (folder / f"{place}-store/records").rglob("*.json")}
        for place in ("memory", "disk")
    ]
    assert records[0] == records[1]  # the same checkpoints by their digests
