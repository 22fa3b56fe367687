"""Estimates of scores on all documents by a part of them: closed forms, and a search by them."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from searched_family import made, written

from bench.validation_parts import PartScore
from manyshot.run import RunContext
from manyshot.search.checked import best_by_estimate
from manyshot.search.estimate import ESTIMATORS, Estimates
from manyshot.search.file import load_search
from manyshot.search.run import run_search
from manyshot.search.space import Candidate
from manyshot.search.trials import Outcome, Trial
from results.aggregation import aggregate
from results.errors import InputError
from results.item_response import fitted
from results.store import Store
from results.suite import BenchmarkSpec

LANGUAGES = ["en"] * 8 + ["de"] * 4


class MadeUpParts:
    """Two parts of a benchmark in two languages, of which the first has every second document."""

    def __init__(self, answers, metric="acc"):
        self.parts, self._answers = 2, answers
        self.spec = SimpleNamespace(tasks={"math": (BenchmarkSpec(name="sums", metric=metric),)})

    def score(self, checkpoint, part):
        return {"sums": PartScore(f"{checkpoint}/{part}", 6)}

    def documents(self, name, kept):
        assert name == "sums"
        tables = []
        for one in kept:
            checkpoint, part = one.split("/")
            numbers = np.arange(int(part), 12, 2)[::-1]
            scores = np.array(self._answers[checkpoint])[numbers]
            languages = np.array(LANGUAGES)[numbers]
            tables.append(pd.DataFrame({"lm_eval_task": languages, "doc_id": numbers, "score": scores}))
        return pd.concat(tables, ignore_index=True)

    def values(self, kept):
        return {name: aggregate("acc", self.documents(name, of)) for name, of in kept.items()}


GENERATOR = np.random.default_rng(0)
ANSWERS = {name: GENERATOR.integers(0, 2, 12).astype(float) for name in ("base", "math", "code", "merged")}
ENDPOINTS = ["base", "math", "code"]


def mean_of_languages(scores):
    return (scores[:8].mean() + scores[8:].mean()) / 2


def test_of_documents_that_were_not_asked_the_likelihoods_count():
    parts = MadeUpParts(ANSWERS)
    estimates = Estimates(parts, ENDPOINTS, dimensions=2)
    assert estimates.documents == 3 * 12
    answers = np.array([ANSWERS[name] for name in ENDPOINTS])
    seen = np.arange(12) % 2 == 0
    model = fitted(answers, 2)
    kept = {"sums": ["merged/0"]}
    part = (ANSWERS["merged"][:8:2].mean() + ANSWERS["merged"][8::2].mean()) / 2
    expected = {"part": part}
    for name, ability_of in (("p-irt", model.ability), ("mp-irt", model.merged_ability)):
        likely = model.probabilities(ability_of(ANSWERS["merged"][seen], seen))
        expected[name] = mean_of_languages(np.where(seen, ANSWERS["merged"], likely))
        expected[f"g{name}"] = (expected[name] + part) / 2
    assert set(expected) == set(ESTIMATORS)
    for name, value in expected.items():
        assert estimates.values(kept, name)["sums"] == pytest.approx(value, abs=1e-3), name


def test_where_all_documents_were_asked_an_estimate_is_the_score():
    estimates = Estimates(MadeUpParts(ANSWERS), ENDPOINTS, dimensions=1)
    both = {"sums": ["merged/0", "merged/1"]}
    for estimator in ESTIMATORS:
        value = estimates.values(both, estimator)["sums"]
        assert value == pytest.approx(mean_of_languages(ANSWERS["merged"]))


def test_a_merge_that_is_one_of_its_experts_is_expected_to_answer_as_it():
    """40 documents that one expert answers right and the others wrong, and 40 the other way about."""
    one, other = np.repeat([1.0, 0.0], 40), np.repeat([0.0, 1.0], 40)
    model = fitted(np.array([np.zeros(80), one, other]), 2)
    seen = np.arange(80) % 4 == 0
    likely = model.probabilities(model.merged_ability(one[seen], seen))
    assert likely[:40].min() > 0.6 and likely[40:].max() < 0.2


@pytest.mark.parametrize(
    ("metric", "of_merged", "complaint"),
    [("mcc", 1.0, "sums is measured by mcc"), ("acc", 7.0, "those of sums go from 0 to 7")],
)
def test_scores_that_are_no_right_and_wrong_are_refused(metric, of_merged, complaint):
    answers = {name: np.append(np.zeros(11), of_merged) for name in ENDPOINTS}
    with pytest.raises(InputError, match=complaint):
        Estimates(MadeUpParts(answers, metric), ENDPOINTS, dimensions=1)


def test_the_best_by_estimate_are_whole_fronts():
    def trials(*points):
        return [
            Trial(number, Candidate("ties", "ties", {}, {}), {}, Outcome(tuple(values), estimated=True))
            for number, values in enumerate(points)
        ]

    def best(trials, number):
        return [trial.number for trial in best_by_estimate(trials, number)]

    one = trials([0.1], [0.9], [0.5], [0.7])
    assert (best(one, 1), best(one, 3), best(one, 9)) == ([1], [1, 3, 2], [1, 3, 2, 0])
    two = trials([0.9, 0.1], [0.1, 0.9], [0.5, 0.0], [0.0, 0.0])
    assert (best(two, 1), best(two, 3)) == ([0, 1], [0, 1, 2])
    tied = trials([0.5, 0.7], [0.2, 0.9], [0.5, 0.7], [0.5, 0.6])
    assert (best(tied, 1), best(tied, 4)) == ([0, 1, 2], [0, 1, 2, 3])


@pytest.mark.slow
def test_a_search_by_estimates_chooses_among_what_was_scored_on_all_documents(tmp_path):
    folder = made(tmp_path)
    written(
        folder, estimate={"share": 0.5, "check": 2}, budget={"evaluations": 6}, batch=3, objective="average"
    )
    store = Store(folder / "store")
    context = RunContext(store, folder / "out")
    report = run_search(load_search(folder / "search.yaml"), "search", context).report
    checked = [trial for trial in report.trials if not trial.estimated]
    errors = report.estimates
    assert {trial.number for trial in checked} == {*errors.best, *errors.drawn}
    assert len(errors.best) == len(errors.drawn) == 2
    assert {trial.documents for trial in checked} == {48} == {report.documents}
    (asked,) = {trial.documents for trial in report.trials if trial.estimated}
    assert 24 - 3 < asked < 24 + 3  # the half of the items, of which some are in three languages
    assert errors.endpoint_documents == 3 * 48
    (winner,) = report.front
    assert winner.values == max(trial.values for trial in checked)
    estimates = {trial.number: (trial.estimates or trial.values)[0] for trial in report.trials}
    assert min(estimates.pop(number) for number in errors.best) >= max(estimates.values())
    estimated = {trial.number: trial.estimates[0] for trial in checked}
    for group, errors_of in ((errors.best, errors.of_best), (errors.drawn, errors.of_drawn)):
        off = [abs(estimated[trial.number] - trial.values[0]) for trial in checked if trial.number in group]
        assert errors_of[errors.estimator] == pytest.approx(np.mean(off))
    tests = [record for record in store.records() if "@" not in record.key.benchmark]
    assert len(tests) == (1 + 2 + 1) * 2  # the base, the experts, and the winner alone
    assert "mean absolute error of estimates" in (folder / "out/table.md").read_text()
    again = run_search(load_search(folder / "search.yaml"), "search", context).report
    assert again.trials == report.trials and again.estimates == report.estimates
