"""Running a search, from its file to its report. This page is the order of everything.

1. What can be known before work starts is checked; experts are opened, or trained.
2. Candidates are suggested, merged and scored on validation data, until the budget is spent; where scores
   were estimated, the best are scored on all of it.
3. The best is chosen, its recipe is written, and only then is anything scored on test data.
4. The report is written, and the run is kept in the store for tables and the leaderboard.
"""

import shutil
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from bench.suite import Suite, load_suite
from manyshot.console import logger
from manyshot.experiment import Experiment
from manyshot.run import RunContext
from manyshot.run_setup import RunSetup
from manyshot.run_steps import run_steps
from manyshot.score_checkpoints import benchmarks_with_data
from manyshot.search.checked import check
from manyshot.search.file import Budget, Search
from manyshot.search.opened import OpenedSearch, check_search
from manyshot.search.report import search_report, write_report
from manyshot.search.tested import score_chosen, write_recipe
from manyshot.search.trials import Outcome, Pending, Trial, Trials, needs_optuna
from manyshot.search.trying import CandidateJob, OpenedTrying, SearchSetup, try_by
from manyshot.workers.cluster import Workers
from manyshot.workers.driver import Crew, open_crew
from manyshot.workers.steps import do_steps
from results.errors import InputError
from results.pareto import front
from results.search_report import SearchReport
from results.words import counted
from results.writing import locked, write_atomically

STORAGE = "search.db"
_MOST_FAILURES = 5
"""First candidates that may all fail, before it is the search that is wrong."""


@dataclass(frozen=True)
class FinishedSearch:
    """A search's report, and its files."""

    report: SearchReport
    files: tuple[Path, ...]


def run_search(
    search: Search, name: str, context: RunContext, choose: Sequence[float] | None = None
) -> FinishedSearch:
    """Do everything that a search file says that is not done yet.

    Args:
        search: what to do.
        name: name of the run in the store.
        context: where to look and write.
        choose: of several objectives, the weights by which a point of their front is chosen.

    Raises:
        InputError: something that the search names is not there or does not fit.
    """
    settings, out = search.settings, context.out
    versions = needs_optuna(settings.sampler_name)
    suite = load_suite(search.experiment.suite)
    _check_choice(choose, len(check_search(search, suite, name)))
    if context.workers is not None and settings.batch == 1:
        raise InputError(
            "The search tries one candidate after the other: let its file say `batch: 4` for four workers to "
            "have one each, or leave out --workers and --ray."
        )
    out.mkdir(parents=True, exist_ok=True)
    setup = SearchSetup(search, name, context.store.root, context.data_root, out)
    with locked(out / ".search.lock"), ExitStack() as stack:
        if context.workers is not None and search.experiment.train is not None:
            _train_by(context.workers, search.experiment, suite, context, out)
        trying = stack.enter_context(closing(setup.open()))
        opened = trying.search
        trials = Trials(out / STORAGE, settings, opened.tasks, opened.made_of(versions))
        if context.workers is not None:
            trying.close()  # its engine has a device that a worker may be given
        with open_crew(context.workers, setup) as crew:
            _spend(settings.budget, trials, trying, crew)
        checked = check(trials, settings, trying.evaluator) if settings.estimate else None
        if checked and context.workers is not None:
            trying.close()
        shutil.rmtree(setup.candidates, ignore_errors=True)
        tried = checked.trials if checked else trials.finished
        best = best_of(tried)
        if not best:
            failed = tried[-1].outcome.failed
            raise InputError(f"No candidate could be merged and scored, so there is no best one. {failed}")
        recipes = _write_recipes(opened, best, out)
        files = list(recipes.values())
        chosen = None if choose is None else chosen_by(best, choose)
        if chosen is not None:
            files.append(out / "chosen.yaml")
            write_atomically(files[-1], recipes[chosen.number].read_bytes())
            logger.info("trial %d has the largest weighted sum; its recipe is chosen.yaml", chosen.number)
        benchmarks = benchmarks_with_data(trying.scorer, suite.benchmarks, context.skip_missing)
        with open_crew(context.workers, trying.scoring) as crew:
            tested = score_chosen(opened, best, recipes, benchmarks, tried=tried, out=out, crew=crew)
    importances = {
        objective.title: trials.importances(place) for place, objective in enumerate(opened.objectives)
    }
    report = search_report(
        opened,
        tried,
        best,
        tested,
        chosen=chosen,
        checked=checked,
        importances=importances,
        surrogate=trials.surrogate(),
    )
    return FinishedSearch(report, (*write_report(report, out), *files))


def _train_by(workers: Workers, experiment: Experiment, suite: Suite, context: RunContext, out: Path) -> None:
    """Let workers train the experts that are not there, as an experiment's first seed has them."""
    experiment = experiment.model_copy(update={"seeds": experiment.seeds[:1], "subsets": None})
    setup = RunSetup(
        experiment, context.store.root, context.data_root, out, skip_missing=context.skip_missing
    )
    trainings = [step for step in run_steps(experiment, tuple(suite.tasks)) if step.title is None]
    with closing(setup.open()) as opened:
        do_steps(trainings, opened.has, setup, workers)


def best_of(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials of the front, in order: those that no other is better than, on all documents.

    Of one objective that is the best, of equal ones the first.
    """
    counted = [trial for trial in trials if trial.counts]
    return [counted[place] for place in front([trial.outcome.values for trial in counted])]


def chosen_by(trials: Sequence[Trial], weights: Sequence[float]) -> Trial:
    """Return the trial with the largest weighted sum of its validation values; of equal ones the first."""

    def total(trial: Trial) -> float:
        return sum(weight * value for weight, value in zip(weights, trial.outcome.values, strict=True))

    return max(trials, key=total)


def _spend(budget: Budget, trials: Trials, trying: OpenedTrying, crew: Crew | None) -> None:
    """Try candidates until the budget is spent, from where an earlier start ended."""
    if trials.finished:
        logger.info("%d candidates were tried before", len(trials.finished))

    def keep(pending: Pending, outcome: Outcome) -> None:
        trial = trials.finish(pending, outcome)
        logger.info("%s", _said(trial, best_of(trials.finished)))

    while not _is_spent(budget, trials):
        _check_failures(trials.before)
        best = tuple(best_of(trials.before))
        jobs = [
            CandidateJob(pending, best if trying.halves else ())
            for pending in trials.batch(budget.evaluations)
        ]
        if crew is not None:
            try_by(crew, jobs, keep)
            continue
        for job in jobs:
            keep(job.pending, trying.do(job))


def _said(trial: Trial, best: Sequence[Trial]) -> str:
    """One line about a candidate."""
    outcome, what = trial.outcome, f"candidate {trial.number} ({trial.candidate.title})"
    if outcome.failed:
        return f"{what} failed: {outcome.failed}"
    values = ", ".join(f"{value:.3f}" for value in outcome.values)
    if outcome.estimated:
        return f"{what}: about {values}, by {counted(outcome.documents, 'document')}"
    if outcome.stopped:
        return f"{what}: stopped after {counted(outcome.documents, 'document')}, about {values}"
    so_far = "the best so far" if len(outcome.values) == 1 else "on the front so far"
    return f"{what}: {values}{f', {so_far}' * any(trial.number == one.number for one in best)}"


def _check_failures(trials: Sequence[Trial]) -> None:
    """Refuse a search of which everything has failed so far."""
    if len(trials) >= _MOST_FAILURES and all(trial.outcome.failed for trial in trials):
        raise InputError(
            f"All of {counted(len(trials), 'candidate')} failed; the last: {trials[-1].outcome.failed}"
        )


def _is_spent(budget: Budget, trials: Trials) -> bool:
    if budget.evaluations is not None:
        return len(trials.finished) >= budget.evaluations
    assert budget.hours is not None
    return sum(trial.outcome.seconds for trial in trials.before) >= 3600 * budget.hours


def _write_recipes(opened: OpenedSearch, best: Sequence[Trial], out: Path) -> dict[int, Path]:
    """Write the recipe of the winner, or of several objectives those of the front."""
    one = len(opened.objectives) == 1
    files = {
        trial.number: out / ("winner.yaml" if one else f"front/trial-{trial.number}.yaml") for trial in best
    }
    for trial in best:
        write_recipe(opened.family.recipe(trial.candidate, opened.signals), files[trial.number])
    return files


def _check_choice(choose: Sequence[float] | None, objectives: int) -> None:
    """Refuse weights that are not those of the objectives."""
    if choose is None:
        return
    if objectives == 1:
        raise InputError("--choose is for several objectives; of one the best is the winner.")
    if len(choose) != objectives:
        raise InputError(f"--choose has {len(choose)} weights, and there are {objectives} objectives.")
    if min(choose) < 0 or max(choose) == 0:
        raise InputError("--choose takes weights from 0 on, of which one is above 0.")
