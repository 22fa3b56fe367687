"""Running an experiment, from its file to its report. This page is the order of everything.

1. What can be known before work starts is checked.
2. The experts are opened, or trained from the base on the examples of all rounds.
3. Every method merges them for every seed: once, or in rounds with experts of their own.
4. Every checkpoint is scored on every benchmark; what has a record is not scored again.
5. The checkpoints are compared, and the report is written.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.scored_checkpoint import ScoredCheckpoint
from bench.scoring import Scorer
from bench.signals import ValidationSignals
from bench.suite import Suite, load_suite
from manyshot.check import accepted_by_task, check_experiment
from manyshot.console import logger
from manyshot.experiment import Experiment
from manyshot.experiment_scorer import open_scorer
from manyshot.experts import open_signals, train_experts, training_examples
from manyshot.kept_run import keep_run
from manyshot.planned_merges import PlannedMerge, expert_label, needs_of, planned_merges
from manyshot.run_entries import RunCheckpoint, merged_checkpoints, run_checkpoint
from manyshot.run_report import mark_report, report_folder, write_report, write_subsets
from manyshot.score_checkpoints import benchmarks_with_data, score_all
from manyshot.tracked_scores import report_comparison
from manyshot.workers.cluster import Workers
from manyshot.workers.driver import ScoringCrew
from manyshot.workers.setup import ScoringSetup, WantedBenchmarks
from merging.examples import Example
from merging.experts import Expert, GivenExperts, TrainedExperts
from merging.many_shot import MergePlan, run_rounds, select_round
from merging.recipe import MethodSpec
from results.comparison import Comparison, compare
from results.run_manifest import set_aside_unreadable
from results.store import Store
from results.task_subsets import subsets_of


@dataclass(frozen=True)
class RunContext:
    """What all steps of a run share.

    Attributes:
        store: where records and signals are looked for and kept.
        out: folder for experts (`experts/`), merged checkpoints (`merged/`) and the report (`report/`).
        data_root: local data root, or None for the hub.
        skip_missing: leave out benchmarks without data.
        workers: score merged checkpoints, where there are some.
    """

    store: Store
    out: Path
    data_root: Path | None = None
    skip_missing: bool = False
    workers: Workers | None = None

    def crew(self, experiment: Experiment, scorer: Scorer) -> ScoringCrew | None:
        """Workers that score as an experiment's scorer does, where there are some."""
        if self.workers is None:
            return None
        benchmarks = WantedBenchmarks(suite=experiment.suite)
        setup = ScoringSetup(self.store.root, self.data_root, scorer.settings, experiment.judge, benchmarks)
        return ScoringCrew(self.workers, setup)


@dataclass(frozen=True)
class FinishedRun:
    """A run's comparison, and the files of its report."""

    comparison: Comparison
    files: tuple[Path, ...]


@dataclass(frozen=True)
class FinishedSubsets:
    """Comparisons of every subset of tasks, and the files of the report over them."""

    comparisons: Mapping[tuple[str, ...], Comparison]
    files: tuple[Path, ...]


def run_experiment(experiment: Experiment, name: str, context: RunContext) -> FinishedRun | FinishedSubsets:
    """Do everything that the experiment says that is not done yet.

    Args:
        experiment: what to do.
        name: name of the run in the store.
        context: where to look and write.

    Raises:
        InputError: something that the experiment names is not there or does not fit.
    """
    suite = load_suite(experiment.suite)
    check_experiment(experiment, suite, name)
    subsets = {
        subset: f"{name}.{re.sub('[^A-Za-z0-9._-]+', '-', '+'.join(subset))}"
        for subset in subsets_of(list(suite.tasks), experiment.subsets or ())
    }
    for run_name in subsets.values() or [name]:
        if moved := set_aside_unreadable(context.store, run_name):
            logger.warning(
                "the store's manifest of the run '%s' cannot be read; it is %s now", run_name, moved
            )
    report = report_folder(context.out, name)
    finished: FinishedRun | FinishedSubsets
    if not subsets:
        finished = _run(experiment, suite, name, context, report)
    else:
        comparisons, accepted = {}, accepted_by_task(experiment)
        for subset, run_name in subsets.items():
            title = "+".join(subset)
            logger.info("merging %s", ", ".join(subset))
            comparisons[subset] = _run(
                experiment.only(subset, accepted),
                suite.but(tasks={task: suite.tasks[task] for task in subset}),
                run_name,
                context,
                report / "subsets" / title,
                family=name,
            ).comparison
        finished = FinishedSubsets(comparisons, write_subsets(comparisons, report))
    mark_report(report, name)
    return finished


def _run(
    experiment: Experiment,
    suite: Suite,
    name: str,
    context: RunContext,
    report: Path,
    *,
    family: str | None = None,
) -> FinishedRun:
    """Run an experiment on all tasks of a suite."""
    base = ScoredCheckpoint.open(experiment.base)
    paths = experiment.experts or {}
    given = {task: ScoredCheckpoint.open(paths[task]) for task in suite.tasks if paths}
    opened = open_scorer(
        experiment,
        suite,
        [base, *given.values()],
        context.store,
        context.data_root,
        asked_by="An experiment scores",
    )
    with closing(opened) as scorer:
        scorer.chat_forms.check([base, *given.values()])
        benchmarks = benchmarks_with_data(scorer, suite.benchmarks, context.skip_missing)
        signals = open_signals(experiment, suite, scorer, context.data_root)
        for method in experiment.methods:
            signals.check(needs_of(experiment, method))
        examples = training_examples(experiment, suite, context.data_root)
        checkpoints = list(
            _make_checkpoints(experiment, base, given, examples, signals=signals, out=context.out)
        )
        crew = context.crew(experiment, scorer)
        records = score_all(scorer, [checkpoint.scored for checkpoint in checkpoints], benchmarks, crew)
    run = keep_run(name, suite, experiment, checkpoints, records, signals=signals, subsets_of=family)
    comparison = compare(run, context.store)
    files = write_report(comparison, report)
    report_comparison(experiment.report_to, comparison, context.store)
    return FinishedRun(comparison, files)


def _make_checkpoints(
    experiment: Experiment,
    base: ScoredCheckpoint,
    given: Mapping[str, ScoredCheckpoint],
    examples: Mapping[str, list[Example]],
    *,
    signals: ValidationSignals,
    out: Path,
) -> Iterator[RunCheckpoint]:
    """Yield the base, the experts of every seed, and what every method merges, each made or found."""
    yield run_checkpoint("base", "base", base)
    train = experiment.train
    trained_experts = train and TrainedExperts(
        examples,
        train.one_round_settings.but(chat=signals.scorer.chat, report_to=experiment.report_to),
    )
    for group in planned_merges(experiment):
        experts = given or train_experts(experiment, base, examples, group.seed, signals=signals, out=out)
        for task, expert in experts.items():
            label = expert_label(experiment, task, group.seed)
            yield run_checkpoint(label, "expert", expert, task=task, seed=group.seed)
        given_experts = _as_given(experiment, experts)
        of_group = signals.with_references({task: expert.path for task, expert in experts.items()})
        for planned in group.merges:
            source = (planned.method.in_rounds and trained_experts) or given_experts
            plan = _merge_plan(experiment, planned, base, source)
            say = partial(logger.info, "%s: %s", planned.title)
            rounds = run_rounds(plan, out, of_group, title=planned.title, announce=say)
            selection = select_round(rounds, planned.method.keep, of_group)
            yield from merged_checkpoints(planned, plan, rounds, selection)


def _as_given(experiment: Experiment, experts: Mapping[str, ScoredCheckpoint]) -> GivenExperts:
    """Experts as a merge that is done once takes them, by the names that the experiment gives them."""
    names = experiment.experts or {}
    return GivenExperts(
        {
            task: Expert(names.get(task, str(checkpoint.path)), checkpoint.path)
            for task, checkpoint in experts.items()
        },
        {task: checkpoint.identity.digest for task, checkpoint in experts.items()},
    )


def _merge_plan(
    experiment: Experiment,
    planned: PlannedMerge,
    base: ScoredCheckpoint,
    experts: GivenExperts | TrainedExperts,
) -> MergePlan:
    """What a method merges, and how."""
    method = planned.method
    return MergePlan(
        base=experiment.base,
        base_digest=base.identity.digest,
        experts=experts,
        method=MethodSpec(name=method.name, **method.settings),
        weighting=method.task_weighting,
        rounds=planned.rounds,
        objective=method.objective,
        anchor=method.anchor,
        space=method.space,
        output_dtype=experiment.output_dtype,
        seed=planned.seed or 0,
        accept_differences=experiment.accept_differences,
    )
