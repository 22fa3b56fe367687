"""Weights of tasks from what the harness measures."""

import math
from pathlib import Path

import pytest

import merging.weighting as weighting_module
from merging.weighting import SIGNALS, TaskSignal, Weighting, signal, softmax
from results.errors import InputError
from results.merge_trace import SignalTrace
from results.validation import validated


class Told:
    """Signals from a table: losses by (checkpoint, task), and normalised performance by task."""

    def __init__(self, losses=None, reached=None):
        self.losses, self.reached, self.over = losses, reached, set()

    def loss(self, checkpoint, task, over):
        self.over.add(over)
        return self.losses[checkpoint.name, task]

    def normalised(self, checkpoint, task):
        return self.reached[task]


EXPERTS = {"a": Path("expert a"), "b": Path("expert b"), "c": Path("expert c")}


def of_gaps(*gaps):
    losses = {("start", task): 3.0 for task in EXPERTS}
    return Told(
        losses | {(f"expert {task}", task): 3.0 - gap for task, gap in zip(EXPERTS, gaps, strict=True)}
    )


def test_the_loss_gap_weighs_by_the_papers_softmax():
    signals = of_gaps(0.5, 1.0, -0.25)
    measured = Weighting(name="loss_gap", temperature=2.0).measure(signals, Path("start"), EXPERTS)
    powers = [math.exp(gap / 2) for gap in (0.5, 1.0, -0.25)]
    assert list(measured.weights.values()) == pytest.approx(
        [power / sum(powers) for power in powers], abs=1e-12
    )
    assert measured.signal.values == pytest.approx({"a": 0.5, "b": 1.0, "c": -0.25})
    assert signals.over == {"text"}


def test_equal_gaps_and_no_signal_give_equal_weights():
    equal = Weighting(name="loss_gap").measure(of_gaps(0.7, 0.7, 0.7), Path("start"), EXPERTS).weights
    none = Weighting(name="uniform").measure(Told(), Path("start"), EXPERTS).weights
    assert list(equal.values()) == pytest.approx([1 / 3] * 3, abs=1e-12)
    assert equal == pytest.approx(none)


def test_large_gaps_do_not_overflow():
    weights = (
        Weighting(name="loss_gap", temperature=1e-3)
        .measure(of_gaps(1000.0, 1.0, 0.0), Path("start"), EXPERTS)
        .weights
    )
    assert weights == {"a": 1.0, "b": 0.0, "c": 0.0}


def test_performance_weighs_for_the_tasks_that_lack_it():
    reached = {"a": 0.9, "b": 0.4, "c": 0.6}
    by_gap = Weighting(name="np_gap", temperature=0.5).measure(Told(reached=reached), Path("start"), EXPERTS)
    assert by_gap.weights == pytest.approx(softmax({t: 1 - v for t, v in reached.items()}, 0.5))
    by_score = Weighting(name="worst_task", temperature=0.5).measure(
        Told(reached=reached), Path("start"), EXPERTS
    )
    assert by_score.weights == pytest.approx(by_gap.weights)
    worst = Weighting(name="worst_task", temperature=1e-6).measure(
        Told(reached=reached), Path("start"), EXPERTS
    )
    assert worst.weights == {"a": 0.0, "b": 1.0, "c": 0.0}
    assert worst.signal.values == reached


def test_a_temperature_for_each_round():
    weighting = Weighting(name="loss_gap", temperature=(2.0, 0.5))
    weights = [
        weighting.measure(of_gaps(1, 0, 0), Path("start"), EXPERTS, turn).weights["a"] for turn in (1, 2)
    ]
    assert weights == pytest.approx([math.exp(0.5) / (math.exp(0.5) + 2), math.exp(2) / (math.exp(2) + 2)])
    weighting.check(2)
    for rounds, complaint in {1: "there is 1 round;", 3: "there are 3 rounds;"}.items():
        with pytest.raises(InputError, match=f"has 2 temperatures, one for each round, and {complaint}"):
            weighting.check(rounds)
    Weighting(name="loss_gap", temperature=2.0).check(7)


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan"), float("inf"), (1.0, 0.0), ()])
def test_a_temperature_of_zero_or_below_is_refused(temperature):
    with pytest.raises(InputError, match=r"f: 'temperature(\.1)?' is .*, where .* is expected"):
        validated(Weighting, {"name": "loss_gap", "temperature": temperature}, "f")


def test_an_unknown_weighting_and_a_signal_that_is_no_number_are_refused():
    with pytest.raises(InputError, match=r"'name': one of uniform, loss_gap, .* is expected, not 'fisher'"):
        validated(Weighting, {"name": "fisher"}, "f")
    with pytest.raises(InputError, match="signal of the task 'b' is nan"):
        Weighting(name="loss_gap").measure(of_gaps(1, float("nan"), 0), Path("start"), EXPERTS)


def test_a_new_signal_is_one_function_with_a_name(monkeypatch):
    """Its name then weighs tasks, is planned and drawn: nothing else has to be changed."""
    monkeypatch.setattr(weighting_module, "SIGNALS", dict(SIGNALS))

    @signal("length", "softmax of the length of the task's name", label="letters", reference_label="no name")
    def length(_, _signals, _start, _expert, task):
        return TaskSignal(value=len(task), urgency=len(task))

    experts = {"a": Path("expert a"), "long": Path("expert long")}
    weights = validated(Weighting, "length", "f").measure(Told(), Path("start"), experts)
    assert weights.weights == pytest.approx(softmax({"a": 1, "long": 4}, 2.0))
    assert weights.signal == SignalTrace(
        label="letters", values={"a": 1, "long": 4}, reference=0, reference_label="no name"
    )
