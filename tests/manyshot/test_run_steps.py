"""Which steps of a run wait for which, and in what order workers take them."""

from manyshot.commands.run_plan import order_of_steps
from manyshot.experiment import Experiment
from manyshot.run_steps import RunStep, run_steps
from manyshot.workers.step_queue import StepQueue

TASKS = ("a", "b")
METHODS = [
    {"name": "average"},
    {"name": "metis", "protocol": "many-shot"},
    {"name": "ties", "protocol": "many-shot", "label": "TIES"},
]


def experiment(**changes):
    content = {"suite": "lab", "base": "base", "methods": METHODS, "train": {"rounds": 2}}
    return Experiment.model_validate(content | changes)


def by_name(steps):
    return {step.name: set(step.after) for step in steps}


def test_rounds_wait_for_their_experts_and_these_for_the_round_before():
    experts = {"a expert", "b expert"}
    first = {"first round, seed 0: a", "first round, seed 0: b"}
    assert by_name(run_steps(experiment(), TASKS)) == {
        "a expert": set(),
        "b expert": set(),
        "average": experts,
        **{name: set() for name in first},
        "metis, many-shot, round 1": first,
        "metis, many-shot, round 2: a": {"metis, many-shot, round 1"},
        "metis, many-shot, round 2: b": {"metis, many-shot, round 1"},
        "metis, many-shot, round 2": {
            "metis, many-shot, round 1",
            "metis, many-shot, round 2: a",
            "metis, many-shot, round 2: b",
        },
        "TIES, round 1": first,
        "TIES, round 2: a": {"TIES, round 1"},
        "TIES, round 2: b": {"TIES, round 1"},
        "TIES, round 2": {"TIES, round 1", "TIES, round 2: a", "TIES, round 2: b"},
    }


def test_what_asks_for_scores_waits_for_the_experts_that_others_are_divided_by():
    methods = [{"name": "average", "protocol": "many-shot", "keep": "best_average"}]
    steps = by_name(run_steps(experiment(methods=methods), TASKS))
    assert {"a expert", "b expert"} < steps["average, many-shot, round 1"]


def test_an_only_round_has_the_standalone_experts():
    steps = by_name(run_steps(experiment(train={"rounds": 1}), TASKS))
    assert len(steps) == 2 + 3
    assert steps["metis, many-shot, round 1"] == {"a expert", "b expert"}


def test_what_differs_in_what_counts_alone_is_made_once_and_then_found():
    metis = {"name": "metis", "protocol": "many-shot"}
    methods = [metis, {**metis, "label": "best", "keep": "best_average"}]
    steps = by_name(run_steps(experiment(methods=methods), TASKS))
    assert "metis, many-shot, round 2" in steps["best, round 1"]


def test_the_plan_names_the_merges_of_subsets_and_trains_an_expert_once(tmp_path):
    names = [step.name for step in order_of_steps(experiment(subsets=[2], methods=METHODS[:1]))]
    assert len(names) == len(set(names)) == 4 + 6
    assert "math expert" in names and "math+safety: average" in names


def test_seeds_wait_for_nothing_of_each_other():
    steps = run_steps(experiment(seeds=[0, 1]), TASKS)
    seeds = {step.name: step.seed for step in steps}
    assert len(steps) == 2 * 13
    assert all(seeds[earlier] == step.seed for step in steps for earlier in step.after)


def test_merges_of_given_experts_wait_for_nothing():
    given = {"train": None, "experts": {"a": "x", "b": "y"}, "seeds": [0, 1]}
    steps = run_steps(experiment(methods=[{"name": "average"}, {"name": "dare"}], **given), TASKS)
    assert by_name(steps) == {"average": set(), "dare, seed 0": set(), "dare, seed 1": set()}


def queue(*steps, done=()):
    return StepQueue([RunStep(name, 0, after=frozenset(after)) for name, after in steps], done)


def taken(waiting):
    queued = waiting.take()
    return queued and queued.job.name


def test_what_most_others_wait_for_is_taken_first_and_nothing_before_its_turn():
    waiting = queue(("x", ""), ("y", ""), ("z", "y"), ("end", "z"))
    first = waiting.take()
    assert first.job.name == "y"
    assert [taken(waiting), taken(waiting)] == ["x", None]
    waiting.done(first.job, None)
    assert [taken(waiting), taken(waiting)] == ["z", None]
    assert waiting


def test_what_an_earlier_run_did_is_not_taken():
    assert taken(queue(("x", ""), ("y", "x"), done=["x"])) == "y"


def test_steps_behind_one_that_cannot_be_done_are_given_up_with_it():
    waiting = queue(("x", ""), ("y", "x"), ("z", "y"), ("other", ""))
    waiting.refused(waiting.take(), "no data")
    assert [taken(waiting), taken(waiting)] == ["other", None]
    assert not waiting
    assert [(one.job.name, one.why) for one in waiting.failed] == [("x", "no data")]
    assert waiting.finished == set()


def test_a_step_is_given_up_after_three_deaths():
    waiting = queue(("x", ""))
    for _ in range(2):
        waiting.died(waiting.take(), "killed")
    assert waiting
    waiting.died(waiting.take(), "out of memory")
    assert not waiting
    assert waiting.failed[0].why == "3 workers died over it, the last so: out of memory"
