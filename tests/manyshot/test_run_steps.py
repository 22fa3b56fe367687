"""Which steps of a run wait for which, and in what order workers take them."""

import pytest

from manyshot.experiment import Experiment
from manyshot.run_steps import RunStep, run_steps
from manyshot.workers.steps import StepQueue

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


def test_each_checkpoint_is_scored_behind_the_step_that_makes_it():
    steps = by_name(run_steps(experiment(methods=METHODS[:2]), TASKS, lambda _: "xy"))
    assert {name: after for name, after in steps.items() if " on " in name} == {
        "base on x, y": set(),
        "a expert on x, y": {"a expert"},
        "b expert on x, y": {"b expert"},
        "average on x, y": {"average"},
        "metis, many-shot, round 1 on x, y": {"metis, many-shot, round 1"},
        "metis, many-shot, round 2 on x, y": {"metis, many-shot, round 2"},
    }


def test_rounds_are_scored_when_it_is_known_which_of_them_counts():
    best = [{"name": "average", "protocol": "many-shot", "keep": "best_average"}]
    steps = by_name(run_steps(experiment(methods=best), TASKS, lambda _: "x"))
    assert steps["average, many-shot, round 1 on x"] == {"average, many-shot, round 2"}


def test_given_experts_are_scored_at_once():
    given = {"train": None, "experts": {"a": "x", "b": "y"}}
    steps = by_name(run_steps(experiment(methods=METHODS[:1], **given), TASKS, lambda _: "x"))
    assert steps["a expert on x"] == set()


def test_an_only_round_has_the_standalone_experts():
    steps = by_name(run_steps(experiment(train={"rounds": 1}), TASKS))
    assert len(steps) == 2 + 3
    assert steps["metis, many-shot, round 1"] == {"a expert", "b expert"}


def test_what_differs_in_what_counts_alone_is_made_once_and_then_found():
    metis = {"name": "metis", "protocol": "many-shot"}
    methods = [metis, {**metis, "label": "best", "keep": "best_average"}]
    steps = by_name(run_steps(experiment(methods=methods), TASKS))
    assert "metis, many-shot, round 2" in steps["best, round 1"]


def test_merges_of_subsets_are_named_with_their_tasks_and_experts_trained_and_scored_once():
    subsets = experiment(subsets=[2], methods=METHODS[:2])
    steps = run_steps(subsets, "abc", lambda tasks: [f"of {task}" for task in tasks])
    made = [step.name for step in steps if not step.benchmarks]
    assert len(made) == len(set(made)) == (3 + 3) + 3 * (1 + 1 + 2 + 1)
    assert {"a expert", "first round, seed 0: c", "b+c: average", "b+c: metis, many-shot, round 2: c"} < set(
        made
    )
    scored = [name for step in steps if step.benchmarks for name in step.does]
    assert len(scored) == len(set(scored)) == 3 + 3 * 3 + 3 * 3 * 2
    assert {"base on of a", "a expert on of c", "b+c: metis, many-shot, round 1 on of b"} < set(scored)
    assert {step.tasks for step in steps} == {("a", "b"), ("a", "c"), ("b", "c")}


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
    return StepQueue([RunStep(name, 0, after=frozenset(after)) for name, after in steps], 1, done)


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


def scoring(name, benchmarks="xy"):
    return RunStep(name, benchmarks=tuple(benchmarks), after=frozenset({name}))


def test_scoring_comes_last_and_each_worker_scores_what_it_has_just_done():
    waiting = StepQueue([RunStep("a", 0), scoring("a"), RunStep("b", 0), scoring("b")], 2)
    first, second = waiting.take(), waiting.take()
    assert [first.job.name, second.job.name] == ["a", "b"]
    waiting.done(first.job, None)
    waiting.done(second.job, None)
    assert waiting.take(second.job).job.name == "b on x, y"
    assert waiting.take(first.job).job.name == "a on x"  # the other worker gets y
    assert waiting.take(second.job).job.name == "a on y"
    assert waiting.take() is None
    assert waiting.finished == {"a", "b"}


def unscored(*names, rounds=1, keep_last=True):
    """Merges of some rounds, each with its scoring, of which those of one wait for the round before."""
    steps = []
    for name in names:
        before, merges = frozenset(), []
        for index in range(1, rounds + 1):
            merges.append(RunStep(f"{name}{index}", 0, title=name, round_index=index, after=before))
            before = merges[-1].does
        for merge in merges:
            after = merge.does if keep_last else merges[-1].does
            steps += [merge, RunStep(merge.label, title=name, benchmarks=("x", "y"), after=after)]
    return steps


def test_merges_wait_while_one_more_is_under_way_than_there_are_workers():
    waiting = StepQueue(unscored("a", "b", "c", "d"), 1, few_unscored=True)
    for name in ("a1", "b1"):
        queued = waiting.take()
        assert queued.job.name == name
        waiting.done(queued.job, None)
    scored = waiting.take(queued.job)
    assert scored.job.name == "b1 on x, y"
    other = waiting.take()
    assert other.job.name == "a1 on x, y"
    assert waiting.take() is None
    waiting.refused(other, "too long")
    for _ in "xy":
        waiting.refused(waiting.take(), "too long")  # what is given up is waited for no more
    assert waiting.take().job.name == "c1"
    assert waiting.take() is None
    waiting.done(scored.job, None)
    assert waiting.take().job.name == "d1"


@pytest.mark.parametrize("keep_last", [True, False])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_few_merges_are_under_way_in_whatever_order_their_rounds_are_scored(workers, keep_last):
    """Each worker does what it took one turn later: all is done, and never more merges than allowed."""
    steps = unscored(*"abcdefg", rounds=4, keep_last=keep_last)
    waiting, doing, most = StepQueue(steps, workers, few_unscored=True), [], 0
    while waiting or doing:
        for queued in doing:
            waiting.done(queued.job, None)
        taken = (waiting.take() for _ in range(workers))
        doing = [queued for queued in taken if queued is not None]
        assert doing or not waiting
        under_way = [
            name
            for name in "abcdefg"
            if any(done.startswith(name) for done in waiting.finished)
            and not {done for step in steps if step.title == name for done in step.does} <= waiting.finished
        ]
        most = max(most, len(under_way))
    assert waiting.finished == {name for step in steps for name in step.does}
    assert 1 <= most <= workers + 1


def test_a_merge_whose_worker_died_may_be_taken_again_though_many_are_unscored():
    waiting = StepQueue(unscored("a", "b"), 1, few_unscored=True)
    first, _ = waiting.take(), waiting.take()
    waiting.died(first, "killed")
    assert waiting.take().job.name == "a1"


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
