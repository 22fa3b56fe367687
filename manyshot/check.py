"""What can be known of an experiment before work starts is refused here, in one sentence."""

from collections import Counter

from bench.suite import Suite
from manyshot.experiment import Experiment
from manyshot.planned_merges import expert_label, planned_merges, rounds_of
from merging.checkpoints.adapted import open_checkpoint
from merging.differences import compare_settings
from merging.tuning import check_settings
from results.errors import InputError
from results.record import LONGEST_NAME
from results.run_manifest import check_name
from results.trackers import check_trackers
from results.validation import quoted


def check_experiment(experiment: Experiment, suite: Suite, name: str = "run") -> None:
    """Refuse an experiment that could not be run to its end, as far as its file and its suite say.

    Args:
        experiment: what to do.
        suite: its suite.
        name: of the run in the store.

    Raises:
        InputError: names, settings, experts or tasks do not fit together.
    """
    check_name(name)
    check_trackers(experiment.report_to)
    experiment.chat.over(suite.chat).check()
    tasks = tuple(suite.spec.tasks)  # whose making refuses names of tasks and benchmarks that are taken
    suite.preset(experiment.preset)
    _check_experts(experiment, suite)
    for method in experiment.methods:
        rounds = rounds_of(experiment, method)
        method.task_weighting.check(rounds)
        for subset in experiment.merged_together(tasks):
            check_settings(
                method.name,
                method.settings,
                subset,
                rounds=rounds,
                space=method.space,
                weighting=method.task_weighting.name,
            )
        if method.space == "factors" and experiment.train is not None and experiment.train.adapter is None:
            raise InputError(
                f"'{method.title}': the space 'factors' is for adapters: say under `train` which `adapter` "
                "to train, or take 'delta'."
            )
    _check_labels(experiment, suite)


def accepted_by_task(experiment: Experiment) -> dict[str, list[str]]:
    """Return by task the keys in which its expert differs from the base and the experiment accepts that.

    Raises:
        InputError: experts differ in other keys, too, or no expert in an accepted one.
    """
    if not experiment.accept_differences:
        return {}
    experts = {task: open_checkpoint(path) for task, path in (experiment.experts or {}).items()}
    differences = compare_settings(open_checkpoint(experiment.base), experts, experiment.accept_differences)
    return {
        task: [
            difference.key
            for difference in differences
            if difference.verdict == "accepted" and task in difference.experts
        ]
        for task in experts
    }


def _check_experts(experiment: Experiment, suite: Suite) -> None:
    """Refuse experts that are not those of the suite's tasks, and tasks without anything to train on."""
    if experiment.train is not None:
        for task, of_task in suite.tasks.items():
            if not of_task.training:
                raise InputError(f"The suite {suite.name} names no training data for the task '{task}'.")
        return
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


def _check_labels(experiment: Experiment, suite: Suite) -> None:
    """Refuse two checkpoints of one label or path, and labels that a manifest cannot hold.

    Records are told apart by the labels of what is made and the paths of what is given.
    """
    taken, titles = ["base", experiment.base, *(experiment.experts or {}).values()], []
    for group in planned_merges(experiment):
        taken += [expert_label(experiment, task, group.seed) for task in suite.tasks]
        titles += [label for planned in group.merges for label in planned.labels]
    for label in (*taken, *titles):
        if len(label) > LONGEST_NAME:
            raise InputError(
                f"A checkpoint would be called {quoted(label)}, in {len(label):,} characters; at most "
                f"{LONGEST_NAME:,} are taken: give the method a `label`, or the task a shorter name."
            )
    for title, number in Counter(titles).items():
        if number > 1:
            raise InputError(f"Two methods are called '{title}': give one of them a `label`.")
        if title in taken:
            raise InputError(
                f"A method is called '{title}', as the base or an expert is: give it another `label`."
            )
