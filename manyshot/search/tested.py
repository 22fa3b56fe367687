"""Test scores of the candidates that a search has chosen: each is merged, and scored once."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from bench.benchmark import Benchmark
from bench.scored_checkpoint import ScoredCheckpoint
from manyshot.console import logger
from manyshot.kept_run import keep_run
from manyshot.run_entries import RunCheckpoint, run_checkpoint
from manyshot.score_checkpoints import score_all
from manyshot.search.objective import Objective
from manyshot.search.opened import OpenedSearch
from manyshot.search.trials import Trial
from manyshot.workers.driver import Crew
from merging.known_methods import find_method
from merging.merge import merge
from merging.method_file import class_name, source_of
from merging.recipe import Recipe
from results import minima
from results.comparison import ComparisonRow, compare
from results.json_values import json_value
from results.merge_trace import MergeOptions, MergeTrace
from results.metrics import average_from_tasks
from results.run_manifest import set_aside_unreadable
from results.search_report import Statistic, TestedTrial
from results.writing import write_atomically


def write_recipe(recipe: Recipe, file: Path) -> None:
    """Write what `manyshot merge` reads."""
    content = recipe.model_dump(mode="json", exclude_defaults=True)
    for task, expert in content["experts"].items():
        if set(expert) == {"path"}:
            content["experts"][task] = expert["path"]
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode())


def score_chosen(
    opened: OpenedSearch,
    trials: Sequence[Trial],
    recipes: Mapping[int, Path],
    benchmarks: Sequence[Benchmark],
    *,
    tried: Sequence[Trial],
    out: Path,
    crew: Crew | None = None,
) -> tuple[TestedTrial, ...]:
    """Merge what was chosen, score it on test data with the base and the experts, and keep the run.

    Args:
        opened: the search.
        trials: those that were chosen.
        recipes: the file of each one's recipe, by its number.
        benchmarks: those of the suite that have rows.
        tried: all candidates that they were chosen among.
        out: folder of the search, whose `merged/` has the checkpoints.
        crew: workers that score in place of this process.
    """
    scorer = opened.signals.scorer
    merged = {trial.number: _merged(opened, trial, len(trials), tried, out) for trial in trials}
    checkpoints = [
        run_checkpoint("base", "base", opened.base),
        *(
            run_checkpoint(expert.name, "expert", expert, task=task)
            for task, expert in opened.experts.items()
        ),
        *merged.values(),
    ]
    records = score_all(scorer, [checkpoint.scored for checkpoint in checkpoints], benchmarks, crew)
    if moved := set_aside_unreadable(scorer.store, opened.name):
        logger.warning(
            "the store's manifest of the run '%s' cannot be read; it is %s now", opened.name, moved
        )
    run = keep_run(
        opened.name,
        opened.suite,
        opened.search.experiment,
        checkpoints,
        records,
        signals=opened.signals,
    )
    comparison = compare(run, scorer.store)
    return tuple(
        _tested(opened, trial, comparison.row(merged[trial.number].entry.label), recipes[trial.number], out)
        for trial in trials
    )


def _merged(
    opened: OpenedSearch, trial: Trial, chosen: int, tried: Sequence[Trial], out: Path
) -> RunCheckpoint:
    """The checkpoint of a trial, merged where it is not there."""
    candidate, family = trial.candidate, opened.family
    folder = out / "merged" / f"trial-{trial.number}"
    if not folder.exists():
        merge(family.recipe(candidate, opened.signals), folder, progress=False)
    which = f", trial {trial.number}" if chosen > 1 else ""
    label = f"{candidate.title} (searched: {len(tried)} tried{which})"
    weights = {task: weight / len(opened.tasks) for task, weight in candidate.weights.items()}
    about: dict[str, Any] = {
        "method": class_name(candidate.method),
        "settings": json_value(candidate.settings),
        "protocol": "post-hoc",
        "title": label,
        "recipe": MergeOptions(
            method=Path(candidate.method).name,
            source=source_of(find_method(candidate.method).method_class),
            output_dtype=family.output_dtype,
            seed=family.seed,
            accept_differences=tuple(family.accept_differences),
        ),
        "trace": MergeTrace(
            weights=weights,
            settings=json_value(candidate.settings),
            candidates=len(tried),
            seconds={"choose": round(sum(one.outcome.seconds for one in tried), 3)},
        ),
    }
    scored = ScoredCheckpoint.open(str(folder))
    return run_checkpoint(label, "merged", ScoredCheckpoint(label, scored.path, scored.identity), **about)


def _tested(opened: OpenedSearch, trial: Trial, row: ComparisonRow, recipe: Path, out: Path) -> TestedTrial:
    """Validation and test numbers beside each other."""
    counts = {task: opened.signals.benchmarks(task) for task in opened.tasks}
    on_validation = {
        "average": average_from_tasks(trial.outcome.tasks, counts),
        "worst_task": min(trial.outcome.tasks.values()),
        **trial.outcome.tasks,
    }
    others = []
    titles = [objective.title for objective in opened.objectives]
    for name, value in on_validation.items():
        if name not in titles:
            estimate = row.estimate(name)
            others.append(
                Statistic(
                    name=name, validation=value, test=estimate.value, low=estimate.low, high=estimate.high
                )
            )
    return TestedTrial(
        number=trial.number,
        label=row.label,
        recipe=str(recipe.relative_to(out)),
        objectives=tuple(
            _of_objective(objective, value, row)
            for objective, value in zip(opened.objectives, trial.outcome.values, strict=True)
        ),
        others=tuple(others),
    )


def _of_objective(objective: Objective, validation: float, row: ComparisonRow) -> Statistic:
    """An objective's number on test data with its interval, where all that it is made of is known."""
    values = {name: row.estimate(name).value for name in objective.weights}
    known = [
        weight * value for name, weight in objective.weights.items() if (value := values[name]) is not None
    ]
    if len(known) < len(objective.weights):
        return Statistic(name=objective.title, validation=validation)
    interval = minima.mean_interval([(objective.parts(row.resampled), None)])
    return Statistic(
        name=objective.title,
        validation=validation,
        test=sum(known),
        low=interval.low if interval else None,
        high=interval.high if interval else None,
    )
