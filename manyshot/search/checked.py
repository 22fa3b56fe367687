"""Candidates whose scores were estimated, scored on all documents: of these the winner is chosen.

Those with the best estimates are; and, since a choice by estimates finds those that are too high, as many
others that are drawn by chance, by which it is known how far estimates are off.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from manyshot.search.candidates import Evaluator
from manyshot.search.estimate import ESTIMATORS
from manyshot.search.file import SearchSettings
from manyshot.search.trials import Trial, Trials
from results.pareto import undominated
from results.search_report import EstimateErrors


@dataclass(frozen=True)
class Checked:
    """Trials of which some were scored on all documents.

    Attributes:
        trials: all, in order; those that were checked have their scores on all documents.
        estimates: what the values of those were estimated to be, by number.
        errors: of estimates.
    """

    trials: tuple[Trial, ...]
    estimates: dict[int, tuple[float, ...]]
    errors: EstimateErrors


def check(kept: Trials, settings: SearchSettings, evaluator: Evaluator) -> Checked:
    """Score the best candidates on all documents, and some drawn by chance.

    Args:
        kept: all that were tried, with what was scored on all documents at an earlier start.
        settings: of the search, with `estimate`.
        evaluator: scores candidates.
    """
    assert settings.estimate is not None
    trials = kept.finished
    best = best_by_estimate(trials, settings.estimate.check)
    drawn = _drawn([trial for trial in trials if trial.outcome.estimated and trial not in best], settings)
    whole = {}
    for trial in (*best, *drawn):
        evaluate = partial(evaluator.evaluate, trial.candidate, trial.number, (), whole=True)
        outcome = kept.on_all_documents(trial.number, evaluate)
        seconds = round(trial.outcome.seconds + outcome.seconds, 3)
        whole[trial.number] = replace(trial, outcome=replace(outcome, seconds=seconds))

    def off(group: Sequence[Trial], estimator: str) -> float | None:
        """Mean absolute error, over candidates and objectives."""
        apart = [
            abs(estimated - value)
            for checked in (whole[trial.number] for trial in group)
            if not checked.outcome.failed
            for estimated, value in zip(
                evaluator.estimated_values(checked.outcome.kept, estimator),
                checked.outcome.values,
                strict=True,
            )
        ]
        return float(np.mean(apart)) if apart else None

    return Checked(
        tuple(whole.get(trial.number, trial) for trial in trials),
        {trial.number: trial.outcome.values for trial in (*best, *drawn)},
        EstimateErrors(
            estimator=settings.estimate.estimator,
            endpoint_documents=evaluator.endpoint_documents,
            best=tuple(trial.number for trial in best),
            drawn=tuple(trial.number for trial in drawn),
            of_best={name: off(best, name) for name in ESTIMATORS},
            of_drawn={name: off(drawn, name) for name in ESTIMATORS},
        ),
    )


def best_by_estimate(trials: Sequence[Trial], number: int) -> list[Trial]:
    """Return the trials with the best estimates, at least so many where there are, and all equal to the last.

    Of several objectives those of the front, then those of the front without these, each as a whole.
    """
    left = [trial for trial in trials if trial.outcome.estimated]
    best: list[Trial] = []
    while left and len(best) < number:
        layer = undominated([trial.outcome.values for trial in left])
        best += [left[place] for place in layer]
        left = [trial for place, trial in enumerate(left) if place not in layer]
    return best


def _drawn(others: Sequence[Trial], settings: SearchSettings) -> list[Trial]:
    assert settings.estimate is not None
    order = np.random.default_rng(settings.seed).permutation(len(others))
    return [others[place] for place in sorted(order[: settings.estimate.check])]
