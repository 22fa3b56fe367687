"""What Optuna suggests to a search depends on seed, number and earlier trials, whenever it was stopped."""

import math
import sqlite3

import numpy as np
import pytest

from manyshot.search.file import SearchSettings
from manyshot.search.run import best_of, chosen_by
from manyshot.search.space import Candidate
from manyshot.search.trials import Outcome, Trial, Trials, needs_optuna
from results.errors import InputError
from results.validation import validated

TASKS = ("math", "safety")
NUMBERS = {
    "methods": [{"name": "ties", "density": {"low": 0.1, "high": 0.9}, "scaling": {"low": 0.1, "high": 3}}]
}
METHODS = {
    "methods": [
        *NUMBERS["methods"],
        {
            "name": "dare",
            "drop_rate": {"choose": [0.5, 0.8]},
            "scaling": {"low": 0.1, "high": 1, "points": 3},
        },
    ],
    "weights": {"low": 0, "high": 2},
}
WEIGHTED = {**NUMBERS, "weights": {"low": 0, "high": 2}}
CASES = {
    "tpe": ("tpe", METHODS, ["average"]),
    "cmaes": ("cmaes", NUMBERS, ["average"]),
    "nsgaii": ("nsgaii", METHODS, ["math", "safety"]),
    "nsgaiii": ("nsgaiii", METHODS, ["math", "safety"]),
    "random": ("random", METHODS, ["average"]),
    "map": ("map", WEIGHTED, ["math", "safety"]),
    "tpe of two": ("tpe", METHODS, ["math", "safety"]),
}


def settings_of(sampler, space, objective, **more):
    content = {"space": space, "objective": objective, "sampler": sampler, "budget": {"evaluations": 40}}
    small = {"nsgaii": {"population": 5}, "nsgaiii": {"population": 5}, "map": {"samples": 11}}
    return validated(SearchSettings, {**content, **small.get(sampler, {}), **more}, "the test")


def outcome_of(candidate, settings):
    """A made-up value, which depends on all numbers of a candidate; some candidates fail."""
    scaling = np.mean(candidate.settings["scaling"])
    other = candidate.settings.get("density", candidate.settings.get("drop_rate"))
    weight = candidate.weights.get("math", 1.0)
    if 0.85 < other < 0.88:
        return Outcome((), failed="made up")
    values = (math.sin(3 * scaling) - (other - 0.4) ** 2, weight - scaling)
    return Outcome(values[: len(settings.objective)], kept={"b": ["digest"]}, documents=3)


def searched(file, settings, evaluations, stops=()):
    """Try candidates; before some of them the process is gone, as after a kill."""
    trials = Trials(file, settings, TASKS, {"seed": settings.seed})
    while len(trials.finished) < evaluations:
        pending = trials.batch(evaluations)[-1]  # as of several workers the fastest may have the last
        if pending.number in stops:
            stops = [stop for stop in stops if stop != pending.number]
            trials = Trials(file, settings, TASKS, {"seed": settings.seed})
            assert (
                trials.batch(evaluations)[-1] == pending
            )  # the same number, with the same numbers of the space
            continue
        trials.finish(pending, outcome_of(pending.candidate, settings))
    return trials.finished


@pytest.mark.parametrize("case", CASES)
def test_a_search_that_is_stopped_tries_the_same_candidates(case, tmp_path):
    settings = settings_of(*CASES[case])
    undisturbed = searched(tmp_path / "whole.db", settings, 16)
    stops = np.random.default_rng(0).choice(16, 4, replace=False)
    assert searched(tmp_path / "stopped.db", settings, 16, list(stops)) == undisturbed
    assert Trials(tmp_path / "stopped.db", settings, TASKS, {"seed": 0}).finished == undisturbed
    assert len({str(trial.params) for trial in undisturbed}) == 16


@pytest.mark.parametrize("case", CASES)
def test_candidates_of_a_batch_know_of_those_before_it_alone(case, tmp_path):
    """So their order means nothing, nor where a budget cuts a batch."""
    settings = settings_of(*CASES[case], batch=3)
    undisturbed = searched(tmp_path / "whole.db", settings, 15)
    assert len({str(trial.params) for trial in undisturbed}) == 15
    searched(tmp_path / "stopped.db", settings, 7, [4])
    assert searched(tmp_path / "stopped.db", settings, 15, [8, 9]) == undisturbed
    in_order = Trials(tmp_path / "in_order.db", settings, TASKS, {"seed": 0})
    while len(in_order.finished) < 15:
        first = in_order.batch()[0]
        in_order.finish(first, outcome_of(first.candidate, settings))
    assert in_order.finished == in_order.before == undisturbed


@pytest.mark.parametrize("case", CASES)
def test_another_seed_tries_others(case, tmp_path):
    tried = [searched(tmp_path / f"{seed}.db", settings_of(*CASES[case], seed=seed), 3) for seed in (0, 1)]
    assert all(one.params != other.params for one, other in zip(*tried, strict=True))


def test_samplers_learn_from_what_was_tried(tmp_path):
    """By chance the mean of the last ten would be that of the first ten."""
    for case in ("tpe", "cmaes"):
        values = [
            trial.outcome.values[0]
            for trial in searched(tmp_path / case, settings_of(*CASES[case]), 40)
            if not trial.outcome.failed
        ]
        assert np.mean(values[-10:]) > np.mean(values[:10]) + 0.2


def test_the_storage_is_optunas_and_holds_nothing_pickled(tmp_path):
    import optuna

    searched(tmp_path / "search.db", settings_of(*CASES["cmaes"]), 20)
    (name,) = optuna.get_all_study_names(f"sqlite:///{tmp_path}/search.db")
    study = optuna.load_study(study_name=name, storage=f"sqlite:///{tmp_path}/search.db")
    assert [trial.number for trial in study.get_trials()] == list(range(20))
    assert all(trial.state.is_finished() for trial in study.get_trials())
    with sqlite3.connect(tmp_path / "search.db") as database:
        assert database.execute("SELECT count(*) FROM trial_system_attributes").fetchone() == (0,)


def test_the_storage_of_another_search_is_refused_by_what_differs(tmp_path):
    settings = settings_of(*CASES["random"])
    Trials(tmp_path / "search.db", settings, TASKS, {"seed": 0, "base": "digest"})
    with pytest.raises(InputError, match="holds a search with another base: name another folder"):
        Trials(tmp_path / "search.db", settings, TASKS, {"seed": 0, "base": "other"})


def test_cma_es_is_said_with_its_version_where_it_suggests():
    assert set(needs_optuna("cmaes")) == {"optuna", "cmaes"}
    assert set(needs_optuna("tpe")) == {"optuna"}


def trial(number, *values, **about):
    return Trial(number, Candidate("ties", "ties", {}, {}), {}, Outcome(values, **about))


def test_the_best_is_the_first_of_equal_ones_and_was_scored_on_all_documents():
    trials = [trial(0, 0.5), trial(1, 0.7), trial(2, 0.9, stopped=True), trial(3, failed="it"), trial(4, 0.7)]
    assert [one.number for one in best_of(trials)] == [1]


def test_the_front_has_what_no_other_is_better_than_in_every_objective():
    points = [(0.5, 0.5), (0.9, 0.1), (0.4, 0.5), (0.5, 0.5), (0.1, 0.9), (0.9, 0.0)]
    trials = [trial(number, *values) for number, values in enumerate(points)]
    assert [one.number for one in best_of(trials)] == [0, 1, 4]
    assert chosen_by(best_of(trials), (0.7, 0.3)).number == 1
    assert chosen_by(best_of(trials), (0.3, 0.7)).number == 4
    assert chosen_by(best_of(trials), (1, 1)).number == 0  # of equal ones the first


def test_importances_say_which_number_decides(tmp_path):
    settings = settings_of("random", NUMBERS, ["average"])
    trials = Trials(tmp_path / "search.db", settings, TASKS, {})
    assert trials.importances(0) == {}
    for _ in range(30):
        (pending,) = trials.batch()
        trials.finish(pending, Outcome((pending.candidate.settings["scaling"],)))
    shares = trials.importances(0)
    assert set(shares) == {"ties.density", "ties.scaling"}
    assert shares["ties.scaling"] > 0.9 and sum(shares.values()) == pytest.approx(1)
