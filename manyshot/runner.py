"""Running an experiment: merge by every method, score every checkpoint, compare, write the report."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from bench.engine import choose_engine
from bench.registry import Suite, load_suite
from bench.scored_checkpoint import ScoredCheckpoint
from bench.scoring import Scorer
from bench.signals import ValidationSignals
from manyshot.costs import memory_of, seconds_of
from manyshot.experiment import Experiment, MethodEntry
from manyshot.scoring import benchmarks_with_data, open_judge, score_all, score_settings, shown_progress
from manyshot.terminal import logger
from manyshot.training_runs import check_methods, make_checkpoints, path_of, recipe_record
from merging.known_methods import find_method, make
from merging.learned import note_of, what_was_learned, with_coefficients
from merging.merge import merge
from merging.method import Method
from merging.provenance import MERGING_VERSION, code_of, described
from merging.recipe import Recipe
from merging.tuning import choose, examples_of, needs, number_of_candidates, of_round
from merging.weighting import recipe_weights
from results.comparison import Comparison, compare
from results.errors import InputError
from results.merge_trace import MergeTrace, Trial
from results.record import Record
from results.run import SUBSETS_OF, Entry, Run, save_run, set_aside
from results.store import Store
from results.subsets import over_subsets, subsets_of
from results.validation import validated

_REPORT_OF = ".run"
"""File in a report's folder with the name of its run."""


@dataclass(frozen=True)
class Finished:
    """A run's comparison, and the files of its report."""

    comparison: Comparison
    files: tuple[Path, ...]


@dataclass(frozen=True)
class FinishedSubsets:
    """Comparisons of every subset of tasks, and the files of the report over them."""

    comparisons: Mapping[tuple[str, ...], Comparison]
    files: tuple[Path, ...]


def run_experiment(
    experiment: Experiment,
    name: str,
    out: Path,
    *,
    store: Store,
    data_root: Path | None = None,
    skip_missing: bool = False,
) -> Finished | FinishedSubsets:
    """Do everything that the experiment says that is not done yet.

    Args:
        experiment: what to do.
        name: name of the run in the store.
        out: folder for merged checkpoints (`merged/`) and the report (`report/`).
        store: where records are looked for and kept.
        data_root: local data root, or None for the hub.
        skip_missing: leave out benchmarks without data.

    Raises:
        InputError: something that the experiment names is not there or does not fit.
    """
    suite = load_suite(experiment.suite)
    do = partial(_run, out=out, store=store, data_root=data_root, skip_missing=skip_missing)
    report = _report_folder(out, name)
    if experiment.subsets is None:
        finished = do(experiment, suite, name, report=report)
        (report / _REPORT_OF).write_text(name, encoding="utf-8")
        return finished
    comparisons = {}
    for subset in subsets_of(list(suite.tasks), experiment.subsets):
        plain = "+".join(subset)
        logger.info("merging %s", ", ".join(subset))
        of_subset = f"{name}.{re.sub('[^A-Za-z0-9._-]+', '-', plain)}"
        done = do(
            *_only(subset, experiment, suite),
            of_subset,
            report=report / "subsets" / plain,
            family=name,
        )
        comparisons[subset] = done.comparison
    written = _write_subsets(comparisons, report)
    (report / _REPORT_OF).write_text(name, encoding="utf-8")
    return FinishedSubsets(comparisons, written)


def _report_folder(out: Path, name: str) -> Path:
    """`report/`, or `report-<name>/` where that is the report of another run with the same folder."""
    mark = out / "report" / _REPORT_OF
    is_others = mark.is_file() and mark.read_text(encoding="utf-8") != name
    return out / (f"report-{name}" if is_others else "report")


def _only(subset: tuple[str, ...], experiment: Experiment, suite: Suite) -> tuple[Experiment, Suite]:
    """An experiment and its suite with some of the tasks."""
    tasks = {task: suite.tasks[task] for task in subset}
    experts = experiment.experts
    if experts is not None:
        check_tasks(experiment, suite)
        experts = {task: experts[task] for task in subset}
    return experiment.model_copy(update={"experts": experts}), replace(suite, tasks=tasks)


def _write_subsets(comparisons: Mapping[tuple[str, ...], Comparison], folder: Path) -> tuple[Path, ...]:
    from reports.subsets import performance_by_number, subsets_table

    table = folder / "subsets.md"
    table.write_text(subsets_table(over_subsets(comparisons)), encoding="utf-8")
    try:
        return table, performance_by_number(list(comparisons.values()), folder / "subsets.png")
    except InputError as error:
        logger.warning("subsets.png is not drawn: %s", error)
        return (table,)


def _run(
    experiment: Experiment,
    suite: Suite,
    name: str,
    *,
    out: Path,
    report: Path,
    store: Store,
    data_root: Path | None,
    skip_missing: bool,
    family: str | None = None,
) -> Finished:
    asked = experiment.engine
    if experiment.train is None:
        check_tasks(experiment, suite)
        check_methods(experiment, suite)
        merges = _merges(experiment)
        entries, candidates = _given(experiment, suite)
        known = [candidate.path for candidate in candidates]
    else:
        known = [ScoredCheckpoint.open(experiment.base).path]
    engine = choose_engine(asked, known)
    scoring = score_settings(suite, experiment.preset, engine, experiment.limit, experiment.fewshot_seed)
    scorer = Scorer(scoring, store, data_root, judge=open_judge(experiment.judge, engine))
    benchmarks = benchmarks_with_data(scorer, suite.benchmarks, skip_missing)
    signals = _signals(experiment, scorer, suite, data_root)
    try:
        if experiment.train is None:
            given = dict(zip(("base", *suite.tasks), candidates, strict=True))
            signals = signals.with_references({task: given[task].path for task in suite.tasks})
            for merge_of in merges:
                entry, candidate = _merged(experiment, merge_of, given, out / "merged", signals)
                entries.append(entry)
                candidates.append(candidate)
        else:
            made = list(make_checkpoints(experiment, suite, signals, out, data_root))
            entries, candidates = [one.entry for one in made], [one.candidate for one in made]
    except BaseException:
        scorer.close()
        raise
    records = score_all(scorer, candidates, benchmarks)
    run = Run(
        name=name,
        suite=suite.spec,
        settings={
            "limit": scoring.limit,
            "limits": dict(scoring.limits),
            "preset": experiment.preset,
            "seed": scoring.seed,
            "judge": experiment.judge,
            "engine": engine.name,
            SUBSETS_OF: family,
            "validation": {**signals.validation},
        },
        entries=tuple(
            entry.model_copy(update={"records": _digests(records[candidate.name])})
            for entry, candidate in zip(entries, candidates, strict=True)
        ),
    )
    other = set_aside(store, run)
    if other is not None:
        logger.warning(
            "the store has a run '%s' of other experts or tasks; that is called '%s' now", name, other
        )
    save_run(store, run)
    comparison = compare(run, store)
    return Finished(comparison, write_report(comparison, report))


def _signals(
    experiment: Experiment, scorer: Scorer, suite: Suite, data_root: Path | None
) -> ValidationSignals:
    options = experiment.train
    if options is None:
        return ValidationSignals(scorer, suite, data_root, progress=shown_progress)
    return ValidationSignals(
        scorer,
        suite,
        data_root,
        training=options.settings.but(max_length=options.loss_max_length or options.max_length),
        limit=options.validation,
        progress=shown_progress,
    )


def write_report(comparison: Comparison, folder: Path) -> tuple[Path, ...]:
    """Write the table in three forms and the figures; what there is nothing to draw for is said."""
    from reports.dots import normalised_performance
    from reports.rounds import performance_over_rounds, weighs_by_a_signal, weights_over_rounds
    from reports.seeds import chosen, seeds_table
    from reports.table import Format, render
    from reports.worst_task import average_against_worst

    folder.mkdir(parents=True, exist_ok=True)
    files = []
    forms: dict[str, Format] = {"table.md": "markdown", "table.tex": "latex", "table.csv": "csv"}
    for name, form in forms.items():
        files.append(folder / name)
        files[-1].write_text(render(comparison, form), encoding="utf-8")
    for name in ("seeds.md", "tasks.png", "worst_task.png", "rounds.png", "weights.png"):
        (folder / name).unlink(missing_ok=True)  # one of an earlier run would not be of these numbers
    seeds = {row.seed for row in comparison.rows if row.role == "merged"} - {None}
    if comparison.rounds or len(seeds) > 1 or chosen(comparison):
        files.append(folder / "seeds.md")
        files[-1].write_text(seeds_table(comparison), encoding="utf-8")
    figures = {"tasks.png": normalised_performance, "worst_task.png": average_against_worst}
    if comparison.rounds:
        figures["rounds.png"] = performance_over_rounds
        if weighs_by_a_signal(comparison):
            figures["weights.png"] = weights_over_rounds
    for name, draw in figures.items():
        try:
            files.append(draw(comparison, folder / name))
        except InputError as error:
            logger.warning("%s is not drawn: %s", name, error)
    return tuple(files)


def check_tasks(experiment: Experiment, suite: Suite) -> None:
    """Refuse experts that are not those of the suite's tasks."""
    experts = experiment.experts or {}
    for task in suite.tasks:
        if task not in experts:
            raise InputError(
                f"The suite {suite.name} has the task '{task}', but the experiment names no expert for it: "
                "name one, or give a copy of the suite without that task."
            )
    for task in experts:
        if task not in suite.tasks:
            raise InputError(
                f"The experiment names an expert for '{task}'; "
                f"the tasks of {suite.name} are {', '.join(suite.tasks)}."
            )


@dataclass(frozen=True)
class _Merge:
    """One merged checkpoint to make: a method, and a seed where it draws random numbers."""

    title: str
    entry: MethodEntry
    method: Method
    seed: int | None


def _merges(experiment: Experiment) -> list[_Merge]:
    """What the experiment merges: every method once, or once for each seed where it draws random numbers."""
    merges = []
    for entry in experiment.methods:
        method = make(entry.name, next(examples_of(entry.settings)))
        if not method.random:
            merges.append(_Merge(entry.title, entry, method, None))
            continue
        several = len(experiment.seeds) > 1
        for seed in experiment.seeds:
            title = f"{entry.title}, seed {seed}" if several else entry.title
            merges.append(_Merge(title, entry, method, seed))
    titles = [one.title for one in merges]
    for title in titles:
        if titles.count(title) > 1:
            raise InputError(f"Two methods are called '{title}': give one of them a `label`.")
    return merges


def _given(experiment: Experiment, suite: Suite) -> tuple[list[Entry], list[ScoredCheckpoint]]:
    """The base and the experts, in the order of the suite."""
    base = ScoredCheckpoint.open(experiment.base)
    entries = [_entry("base", "base", base)]
    candidates = [base]
    for task in suite.tasks:
        expert = ScoredCheckpoint.open((experiment.experts or {})[task])
        entries.append(_entry(f"{task} expert", "expert", expert, task=task))
        candidates.append(expert)
    return entries, candidates


def _merged(
    experiment: Experiment,
    merge_of: _Merge,
    given: Mapping[str, ScoredCheckpoint],
    folder: Path,
    signals: ValidationSignals,
) -> tuple[Entry, ScoredCheckpoint]:
    """Merge by one method, or find the checkpoint that an earlier run merged from the same inputs."""
    entry, title = merge_of.entry, merge_of.title
    experts = {task: given[task].path for task in experiment.experts or {}}
    inputs = {name: one.identity.digest for name, one in given.items()}
    measured = entry.by.measure(signals, given["base"].path, experts)

    weights = recipe_weights(measured.weights)

    def recipe_of(settings: Mapping[str, object]) -> Recipe:
        """The recipe with other settings of the method."""
        content = {
            "base": experiment.base,
            "experts": {
                task: {"path": path, "weight": weights[task]}
                for task, path in (experiment.experts or {}).items()
            },
            "method": {"name": entry.name, **settings},
            "output_dtype": experiment.output_dtype,
            "seed": merge_of.seed or 0,
            "space": entry.space,
            "accept_differences": experiment.accept_differences,
        }
        return validated(Recipe, content, "the experiment")

    needed = needs(entry.name, entry.settings)
    code = [MERGING_VERSION, code_of(find_method(entry.name).kind)]
    tried_key = [inputs, code, signals.key(needed) if needed else None]
    place = folder / f".{_plain(title)}-{_digest([recipe_of({}), entry.objective, tried_key])[:8]}.tried"

    def complete(settings: Mapping[str, Any]) -> dict[str, Any]:
        """The settings with coefficients that were learned, where the method has them learned."""
        base = given["base"].path
        return with_coefficients(
            entry.name,
            settings,
            signals,
            base,
            experts,
            seed=merge_of.seed or 0,
            note=note_of(place, settings),
        )

    settings, tried = choose(
        of_round(entry.settings, 1, 1),
        lambda some, out: merge(recipe_of(complete(some)), out, progress=False),
        signals,
        tasks=list(experts),
        objective=entry.objective,
        place=place,
    )
    learned_note = note_of(place, settings)
    settings = complete(settings)
    recipe, method = recipe_of(settings), make(entry.name, settings)
    # Everything that decides the merged weights, the code that merges included.
    content = {
        "inputs": inputs,
        "recipe": recipe.model_dump(exclude={"base", "experts", "method"}, mode="json"),
        "method": described(method),
        "weights": dict(measured.weights),
        "version": MERGING_VERSION,
    }
    digest = _digest(content)
    out = folder / f"{_plain(title)}-{digest[:8]}"
    if out.exists():
        logger.info("%s: merged before, found in %s", title, out)
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            merge(recipe, out)
        except InputError:
            if not out.exists():  # otherwise another run has just merged the same
                raise
    candidate = ScoredCheckpoint.open(str(out))
    merged = _entry(
        title,
        "merged",
        candidate,
        seed=merge_of.seed,
        method=entry.method_name,
        settings=entry.settings,
        protocol=entry.protocol,
    )
    learned = what_was_learned(learned_note)
    about = {
        "title": entry.plain_title,
        "identity": entry.identity,
        "trace": MergeTrace(
            weights=dict(measured.weights),
            signal=measured.signal,
            losses=dict(measured.losses),
            settings=json.loads(json.dumps(settings)),
            candidates=number_of_candidates(entry.settings),
            trials=tuple(Trial.model_validate(trial) for trial in tried),
            learned=learned,
            seconds=seconds_of(out, learned),
            memory=memory_of(out),
        ),
        "recipe": recipe_record(
            entry, experiment.output_dtype, recipe.seed, tuple(experiment.accept_differences)
        ),
    }
    return merged.model_copy(update=about), candidate


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _plain(title: str) -> str:
    return re.sub(r"[^A-Za-z0-9.=-]+", "_", title).strip("_")


def _entry(
    label: str,
    role: str,
    candidate: ScoredCheckpoint,
    *,
    task: str | None = None,
    method: str | None = None,
    settings: Mapping[str, object] | None = None,
    protocol: str | None = None,
    seed: int | None = None,
) -> Entry:
    return Entry(
        label=label,
        role=role,  # type: ignore[arg-type]
        task=task,
        method=method,
        settings=dict(settings or {}),  # type: ignore[arg-type]
        protocol=protocol,
        seed=seed,
        path=path_of(candidate),
        checkpoint=candidate.identity,
    )


def _digests(records: Mapping[str, Record]) -> dict[str, str]:
    return {benchmark: record.key.digest for benchmark, record in records.items()}
