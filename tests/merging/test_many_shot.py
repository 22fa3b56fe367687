"""Merging in rounds: each round is what the method's formulas say of its experts, and goes on when killed."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from in_rounds import ADAPTER, TASKS, TRAINING, Counted, arrays
from tiny import EXAMPLES

import merging.experts as experts_module
import merging.many_shot as many_shot_module
import merging.prepare as prepare_module
import merging.training as training_module
from merging.checkpoints.adapted import open_checkpoint
from merging.experts import Expert, GivenExperts, TrainedExperts
from merging.learning import learned_coefficients
from merging.many_shot import MergePlan, MergeRound, run_rounds, select_round
from merging.optimise import reading_order
from merging.recipe import MethodSpec, Recipe
from merging.train_settings import TrainSettings
from merging.training import made_from
from merging.tuning import choose_settings, number_of_candidates
from merging.weighting import Weighting, softmax
from results.errors import InputError
from results.merge_trace import MergeTrace

pytestmark = pytest.mark.slow


def plan(base, *, training=TRAINING, **changes):
    usual = {
        "base": str(base),
        "base_digest": open_checkpoint(base).identity().digest,
        "experts": TrainedExperts(TASKS, training),
        "method": MethodSpec(name="metis"),
        "rounds": 2,
        "weighting": Weighting(name="loss_gap", temperature=0.5),
    }
    return MergePlan(**{**usual, **changes})


def metis(anchor, experts, alphas, ratio=0.3, k=2):
    """Steps 4 to 6 of METIS on one tensor, in float64."""
    own = np.stack([a * (e.astype(np.float64) - anchor) for a, e in zip(alphas, experts, strict=True)])
    total = own.sum(0)
    masks = np.abs(own) >= ratio * np.abs(total - own)
    return anchor + np.where(masks.sum(0) >= k, total, 0.0)


@pytest.mark.parametrize(
    ("space", "anchor"),
    [
        ("delta", "base"),
        ("factors", "previous"),
        ("whole models", "base"),
        pytest.param("delta", "previous", marks=pytest.mark.full),
        pytest.param("factors", "base", marks=pytest.mark.full),
        pytest.param("whole models", "previous", marks=pytest.mark.full),
    ],
)
def test_every_round_is_what_metis_says_of_its_experts(base, tmp_path, anchor, space):
    training = TRAINING if space == "whole models" else ADAPTER
    factors = space == "factors"
    signals = Counted()
    asked = plan(base, training=training, anchor=anchor, space="factors" if factors else "delta")
    rounds = run_rounds(asked, tmp_path, signals)
    assert [one.round_index for one in rounds] == [1, 2]
    before = base
    for one in rounds:
        losses = {
            task: (signals.loss(before, task, "text"), signals.loss(path, task, "text"))
            for task, path in one.experts.items()
        }
        powers = {task: np.exp((start - expert) / 0.5) for task, (start, expert) in losses.items()}
        alphas = {task: power / sum(powers.values()) for task, power in powers.items()}
        assert one.trace.weights == pytest.approx(alphas, abs=1e-12)
        found = arrays(one.merged, factors)
        experts = [arrays(path, factors) for path in one.experts.values()]
        if factors:
            origin = arrays(before, True) if anchor == "previous" and before != base else None
        else:
            origin = arrays(base if anchor == "base" else before)
        for name, array in found.items():
            start = np.zeros_like(array) if origin is None else origin[name]
            expected = metis(start, [expert[name] for expert in experts], list(alphas.values()))
            # Where the two sides of a mask's comparison are equal to rounding, either answer is right.
            assert (np.abs(array - expected) < 1e-6).mean() > 0.998
        assert 0 < one.trace.mask_density <= 1
        before = one.merged
    written = json.loads((rounds[0].merged.parent / "round-1.json").read_text())
    assert set(written["trace"]["seconds"]) == {"train", "rest", "signals", "choose", "merge"}


@pytest.mark.parametrize(
    "changes",
    [
        {"method": MethodSpec(name="average")},
        {"method": MethodSpec(name="task_arithmetic", scaling=0.5), "anchor": "previous"},
    ],
)
def test_the_mean_in_rounds_is_atm(base, tmp_path, changes):
    # ATM: every task is trained from the merged model, to which the mean of the task vectors is added.
    experts = TrainedExperts({"colours": EXAMPLES[:8], "red": EXAMPLES[:1] * 8}, TRAINING)
    asked = plan(base, experts=experts, weighting=Weighting(name="uniform"), **changes)
    before = base
    for one in run_rounds(asked, tmp_path, Counted()):
        start, found = arrays(before), arrays(one.merged)
        trained = [arrays(path) for path in one.experts.values()]
        for path in one.experts.values():
            report = json.loads((path / "training.json").read_text())
            assert report["base"] == open_checkpoint(before).identity().digest
        for name, array in start.items():
            mean = sum(expert[name] - array for expert in trained) / 2
            np.testing.assert_allclose(found[name], array + mean, rtol=0, atol=1e-6)
        assert max(np.abs(trained[0][name] - trained[1][name]).max() for name in start) > 1e-3
        before = one.merged


def test_a_round_whose_checkpoint_is_gone_is_made_again_and_a_damaged_file_is_named(base, tmp_path):
    (first,) = run_rounds(plan(base, rounds=1), tmp_path, Counted())
    weights = (first.merged / "model.safetensors").read_bytes()
    shutil.rmtree(first.merged)
    (again,) = run_rounds(plan(base, rounds=1), tmp_path, Counted())
    assert again.merged == first.merged and again.trace.weights == first.trace.weights
    assert (again.merged / "model.safetensors").read_bytes() == weights
    file = first.merged.with_suffix(".json")
    for damaged in ('{"round_index": 1', '{"round_index": 1}', "[]"):
        file.write_text(damaged)
        with pytest.raises(InputError, match=r"round-1\.json: .*; remove it, and the round is made again\.$"):
            run_rounds(plan(base, rounds=1), tmp_path, Counted())


@pytest.mark.parametrize("damaged", ["[", "{}", '[{"value": "x"}]'])
def test_a_damaged_file_of_trials_is_named(tmp_path, damaged):
    (tmp_path / "trials.json").write_text(damaged)
    with pytest.raises(InputError, match=r"trials\.json: .*; remove it, and what was tried is tried again"):
        choose_settings(
            {"scaling": {"choose": [0.1, 0.2]}},
            lambda *_: pytest.fail("it merged"),
            Counted(),
            tasks=["both"],
            objective="average",
            folder=tmp_path,
        )


@pytest.mark.parametrize("damaged", ["[", "[]", "{}", '{"of": "x", "state": {"step": 1}}'])
def test_a_damaged_file_of_learning_is_named(tmp_path, damaged):
    file = tmp_path / "learning-1.json"
    file.write_text(damaged)
    with pytest.raises(InputError, match=r"1\.json: .*; remove it, and the coefficients are learned again"):
        learned_coefficients(file)


def test_a_finished_run_is_found_where_it_was_moved_and_more_rounds_go_on_from_it(base, tmp_path):
    signals = Counted()
    first = run_rounds(plan(base), tmp_path / "here", signals)
    asked = signals.asked
    assert run_rounds(plan(base), tmp_path / "here", signals) == first
    assert signals.asked == asked
    weights = [(one.merged / "model.safetensors").read_bytes() for one in first]
    (tmp_path / "here").rename(tmp_path / "there")
    longer = run_rounds(plan(base, rounds=3), tmp_path / "there", signals)
    assert [(one.merged / "model.safetensors").read_bytes() for one in longer[:2]] == weights
    assert all(one.merged.is_relative_to(tmp_path / "there") for one in longer)
    assert len(list((tmp_path / "there/experts").iterdir())) == 9


def test_post_hoc_reads_in_one_training_what_rounds_read_in_theirs():
    lengths, size = [3, 9, 4, 7, 5, 6, 8], 2
    settings = TrainSettings(batch_size=size, seed=3)
    steps = -(-len(lengths) // size)
    once = reading_order(lengths, 3 * steps, settings)
    rounds = [reading_order(lengths, steps, settings.but(first_epoch=turn)) for turn in range(3)]
    assert once == [place for one in rounds for place in one]
    assert all(set(one) == set(range(7)) for one in rounds)
    assert rounds[0] != rounds[1]


def test_rounds_begin_where_the_one_before_stopped_reading(base, tmp_path):
    rounds = run_rounds(plan(base, rounds=2), tmp_path, Counted())
    reports = [json.loads((one.experts["both"] / "training.json").read_text()) for one in rounds]
    assert [report["settings"]["first_epoch"] for report in reports] == [0, 1]
    assert [report["settings"]["epochs"] for report in reports] == [1, 1]


def test_settings_are_chosen_on_what_the_harness_says(base, tmp_path):
    class Scaled(Counted):
        def normalised(self, checkpoint, task):
            report = json.loads((checkpoint / "merge.json").read_text())
            return {0.2: 0.5, 0.4: 0.9, 0.6: 0.9}[report["recipe"]["method"]["scaling"]] - (
                task == "both"
            ) / 4

    method = MethodSpec(name="task_arithmetic", scaling={"choose": [0.2, 0.4, 0.6]})
    (one,) = run_rounds(plan(base, rounds=1, method=method, objective="worst_task"), tmp_path, Scaled())
    assert one.trace.settings == {"scaling": 0.4}
    assert [trial.value for trial in one.trace.trials] == pytest.approx([0.25, 0.65, 0.65])
    assert json.loads((one.merged / "merge.json").read_text())["recipe"]["method"]["scaling"] == 0.4


def test_a_threshold_of_consensus_is_chosen_for_each_task_by_that_task_alone(base, tmp_path):
    class Wanting(Counted):
        """Each task wants a threshold of its own, of a merge by its own mask."""

        def normalised(self, checkpoint, task):
            method = json.loads((checkpoint / "merge.json").read_text())["recipe"]["method"]
            assert method.get("only") == task
            return 1 - abs(method["mask_threshold"] - {"colours": 0.2, "shades": 0.4, "both": 0.6}[task])

    method = MethodSpec(name="consensus_ta", mask_threshold={"choose_per_task": [0.2, 0.4, 0.6]})
    (one,) = run_rounds(plan(base, rounds=1, method=method), tmp_path, Wanting())
    assert one.trace.settings == {"mask_threshold": {"colours": 0.2, "shades": 0.4, "both": 0.6}}
    assert len(one.trace.trials) == 9


@pytest.mark.parametrize("key", ["choose", "choose_per_task"])
def test_settings_that_depend_on_each_other_are_chosen_together(base, tmp_path, key):
    """A threshold of 0.2 is the best, but only at a scaling of 0.3; at 1.0 it is the worst."""

    class Hidden(Counted):
        def normalised(self, checkpoint, task):
            method = json.loads((checkpoint / "merge.json").read_text())["recipe"]["method"]
            threshold, scaling = method["mask_threshold"], method["scaling"]
            if isinstance(threshold, dict):
                threshold = threshold[task]
            return {1.0: {0.2: 0.4, 0.4: 0.5, 0.6: 0.6}, 0.3: {0.2: 0.9, 0.4: 0.7, 0.6: 0.5}}[scaling][
                threshold
            ]

    settings = {"mask_threshold": {key: [0.2, 0.4, 0.6]}, "scaling": {"choose": [1.0, 0.3]}}
    method = MethodSpec(name="consensus_ta", **settings)
    (one,) = run_rounds(plan(base, rounds=1, method=method), tmp_path, Hidden())
    assert one.trace.settings["scaling"] == 0.3
    threshold = one.trace.settings["mask_threshold"]
    assert set(threshold.values() if key == "choose_per_task" else [threshold]) == {0.2}
    # By task: for both scalings three thresholds of each of three tasks alone, then two merges for all.
    assert len(one.trace.trials) == {"choose": 6, "choose_per_task": 2 * 3 * 3 + 2}[key]
    assert number_of_candidates(settings) == {"choose": 6, "choose_per_task": 2 * 3 + 2}[key]


@pytest.mark.parametrize("version", ["TRAINING_VERSION", "MERGING_VERSION", "LEARNING_VERSION"])
def test_rounds_made_under_another_version_are_not_taken_for_the_same(base, version, monkeypatch):
    before = plan(base).digest(Counted())
    module = experts_module if version == "TRAINING_VERSION" else many_shot_module
    monkeypatch.setattr(module, version, 0)
    assert plan(base).digest(Counted()) != before


def test_experts_and_merges_are_keyed_by_their_version(base, tmp_path, monkeypatch):
    keys = []
    for version in (1, 2):
        monkeypatch.setattr(training_module, "TRAINING_VERSION", version)
        monkeypatch.setattr(prepare_module, "MERGING_VERSION", version)
        recipe = Recipe(base=str(base), experts={"a": str(base)}, method={"name": "average"})
        keys.append((made_from(base, EXAMPLES, TRAINING), prepare_module.prepare(recipe).key()))
    assert keys[0][0] != keys[1][0] and keys[0][1] != keys[1][1]


def test_candidates_may_be_numbers_by_task(base, tmp_path):
    by_task = [dict.fromkeys(TASKS, 0.2), dict.fromkeys(TASKS, 0.4)]
    method = MethodSpec(name="consensus_ta", mask_threshold={"choose": [*by_task, by_task[0]]})
    (one,) = run_rounds(plan(base, rounds=1, method=method), tmp_path, Counted())
    assert [trial.settings["mask_threshold"] for trial in one.trace.trials] == by_task
    assert one.trace.settings["mask_threshold"] in by_task


def test_scale_and_temperature_are_one_number_a_round(base, tmp_path):
    weighting = Weighting(name="loss_gap", temperature=(4.0, 0.5))
    method = MethodSpec(name="metis", scaling=[1.6, 0.8])
    rounds = run_rounds(plan(base, rounds=2, method=method, weighting=weighting), tmp_path, Counted())
    for one, scaling, temperature in zip(rounds, (1.6, 0.8), (4.0, 0.5), strict=True):
        recipe = json.loads((one.merged / "merge.json").read_text())["recipe"]
        assert recipe["method"]["scaling"] == one.trace.settings["scaling"] == scaling
        gaps = {task: before - after for task, (before, after) in one.trace.losses.items()}
        assert dict(one.trace.weights) == pytest.approx(softmax(gaps, temperature))
    with pytest.raises(
        InputError, match=r"'scaling' has 2 values, one for each round, and there are 3 rounds"
    ):
        plan(base, rounds=3, method=method)
    with pytest.raises(InputError, match=r"'scaling' has 2 values, one for each round, and there is 1 round"):
        plan(base, rounds=1, method=method)


# Python and its libraries are started once; each run is a process of its own, forked from that.
KILLED = """
import os, signal, sys, traceback
sys.path[:0] = {paths!r}
from merging import merge_blocks, optimise, weighting
import test_many_shot
from merging.many_shot import run_rounds
from pathlib import Path

count = 0

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def kill_in(where):
    if where == "training":
        on_step_end = optimise._Watch.on_step_end
        def killed(self, args, state, control, **more):
            global count
            on_step_end(self, args, state, control, **more)
            count += 1
            if count == 9:  # the second save of the fifth training: in the second round
                die()
        optimise._Watch.on_step_end = killed
    elif where == "merging":
        add_rounded = merge_blocks.add_rounded
        def killed(*given):
            global count
            count += 1
            return die() if count == 25 else add_rounded(*given)
        merge_blocks.add_rounded = killed
    elif where == "scoring":
        measure = weighting.Weighting.measure
        def killed(self, signals, start, experts, round_index):
            return die() if round_index == 2 else measure(self, signals, start, experts, round_index)
        weighting.Weighting.measure = killed

for where in {places!r}:
    child = os.fork()
    if child == 0:
        try:
            kill_in(where)
            run_rounds(test_many_shot.plan(Path({base!r})), Path({out!r}) / where, test_many_shot.Counted())
        except BaseException:
            traceback.print_exc()
        os._exit(0)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if ended != -signal.SIGKILL:
        sys.exit(f"the run to be killed in {{where}} ended with {{ended}}")
"""
PLACES = ("training", "merging", "scoring")


@pytest.fixture(scope="module")
def killed(base, tmp_path_factory):
    """A folder with those of runs, by the place where each was killed."""
    out = tmp_path_factory.mktemp("killed")
    paths = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
    script = KILLED.format(paths=paths, places=PLACES, base=str(base), out=str(out))
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return out


@pytest.fixture(scope="module")
def whole(base, tmp_path_factory):
    """The weights of an undisturbed run."""
    rounds = run_rounds(plan(base), tmp_path_factory.mktemp("whole"), Counted())
    return (rounds[-1].merged / "model.safetensors").read_bytes()


@pytest.mark.parametrize("where", PLACES)
def test_a_killed_run_ends_with_the_same_bits(base, killed, whole, where):
    out = killed / where
    done = {path: path.stat().st_mtime_ns for path in out.glob("experts/[!.]*")}
    assert len(done) == {"training": 4, "merging": 6, "scoring": 6}[where]
    rounds = run_rounds(plan(base), out, Counted())
    assert (rounds[-1].merged / "model.safetensors").read_bytes() == whole
    assert all(path.stat().st_mtime_ns == changed for path, changed in done.items())
    assert not list(out.glob("**/*.partial"))


def given(base, rounds):
    """The experts of the first of some rounds, to be merged once."""
    experts = {task: Expert(str(path), path) for task, path in rounds[0].experts.items()}
    digests = {task: open_checkpoint(path).identity().digest for task, path in rounds[0].experts.items()}
    return plan(base, rounds=1, experts=GivenExperts(experts, digests))


def test_merging_once_is_one_round_with_given_experts(base, tmp_path):
    trained = run_rounds(plan(base, rounds=1), tmp_path, Counted(), title="in rounds")
    (once,) = run_rounds(given(base, trained), tmp_path / "once", Counted(), title="metis (once)")
    assert once.merged.relative_to(tmp_path / "once").parts[1].startswith("metis_once-")
    assert (once.merged / "model.safetensors").read_bytes() == (
        trained[0].merged / "model.safetensors"
    ).read_bytes()
    about = {"seconds": {}, "memory": None}
    assert once.trace.model_copy(update=about) == trained[0].trace.model_copy(update=about)


def test_another_title_makes_nothing_again(base, tmp_path):
    (first,) = run_rounds(plan(base, rounds=1), tmp_path, Counted(), title="one")
    assert run_rounds(plan(base, rounds=1), tmp_path, Counted(), title="another") == [first]


def test_given_experts_are_merged_in_one_round_only(base, tmp_path):
    once = given(base, run_rounds(plan(base, rounds=1), tmp_path, Counted()))
    with pytest.raises(InputError, match="Given experts are merged in one round"):
        replace(once, rounds=2)


@pytest.mark.parametrize(("keep", "expected"), [("last", 3), ("best_average", 3), ("best_worst_task", 2)])
def test_the_round_that_counts(keep, expected):
    class Table(Counted):
        def normalised(self, checkpoint, task):
            return {"a": [0.9, 0.5, 0.9], "b": [0.1, 0.4, 0.3]}[task][int(checkpoint.name)]

    rounds = [
        MergeRound(
            round_index=index + 1,
            merged=Path(str(index)),
            experts={"a": Path("a"), "b": Path("b")},
            trace=MergeTrace(),
        )
        for index in range(3)
    ]
    selection = select_round(rounds, keep, Table())
    assert selection.round_index == expected
    assert [score.round_index for score in selection.scores] == ([] if keep == "last" else [1, 2, 3])


def test_what_does_not_fit_is_refused_before_anything_is_trained(base, tmp_path):
    with pytest.raises(InputError, match="number of rounds is 0"):
        plan(base, rounds=0)
    with pytest.raises(InputError, match="2 temperatures, one for each round, and there are 3 rounds"):
        plan(base, rounds=3, weighting=Weighting(name="loss_gap", temperature=(1.0, 2.0)))
    with pytest.raises(InputError, match="3 temperatures, one for each round, and there are 2 rounds"):
        plan(base, rounds=2, weighting=Weighting(name="loss_gap", temperature=(1.0, 2.0, 3.0)))
    assert not any(tmp_path.iterdir())
