"""LoRI-S: the entries of B that a first training moves most are trained alone, from the start."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny import EXAMPLES

from merging import optimise
from merging.lori import largest
from merging.train_settings import AdapterSettings, TrainSettings
from merging.training import train

DENSE = TrainSettings(
    epochs=3,
    batch_size=4,
    learning_rate=1e-2,
    cpu=True,
    save_seconds=0,
    adapter=AdapterSettings(rank=4, alpha=8, targets=("q_proj", "up_proj"), dropout=0.1, init="lori_d"),
)


def sparse(**changes):
    return DENSE.but(adapter=DENSE.adapter.but(init="lori_s", **changes))


def factors(folder):
    """The factors A, and the factors B."""
    stored = load_file(folder / "adapter_model.safetensors")
    return [{n: t for n, t in stored.items() if f".lora_{side}." in n} for side in "AB"]


def together(tensors):
    return np.concatenate([tensors[name].flatten().numpy() for name in sorted(tensors)])


@pytest.mark.parametrize(("density", "count"), [(0.1, 6), (0.5, 30), (0.001, 1), (1.0, 60)])
def test_masks_are_the_largest_share_of_all_tensors_together(density, count):
    drawn = np.random.default_rng(0).permutation(60).astype(np.float32)
    tensors = {"b": torch.tensor(drawn[:40].reshape(8, 5)), "a": torch.tensor(drawn[40:].reshape(4, 5))}
    masks = largest(tensors, density)
    assert {name: mask.shape for name, mask in masks.items()} == {"a": (4, 5), "b": (8, 5)}
    for name, mask in masks.items():
        assert torch.equal(mask, tensors[name] >= 60 - count)  # the entries are 0, …, 59


def test_of_equal_entries_the_first_are_taken():
    masks = largest({"b": torch.tensor([1.0, 2.0, 1.0]), "a": torch.tensor([1.0, 0.0, 1.0])}, 0.5)
    assert (masks["a"].tolist(), masks["b"].tolist()) == ([True, False, True], [False, True, False])
    assert int(largest({"a": torch.zeros(7)}, 0.5)["a"].sum()) == 3


@pytest.mark.slow
def test_only_what_lori_d_moves_most_is_trained(base, tmp_path):
    dense = train(base, EXAMPLES, DENSE, tmp_path / "dense")
    out = train(base, EXAMPLES, sparse(), tmp_path / "sparse")
    (a_dense, b_dense), (a, b) = factors(dense), factors(out)
    assert all(torch.equal(a[name], a_dense[name]) for name in a_dense)
    magnitudes, trained = abs(together(b_dense)), together(b)
    count = len(trained) // 10
    kept = np.zeros(len(trained), bool)
    kept[np.argsort(-magnitudes, kind="stable")[:count]] = True
    assert not trained[~kept].any()
    assert trained[kept].all()
    assert not (trained[kept] == together(b_dense)[kept]).any()  # trained anew, not cut out
    report = json.loads((out / "training.json").read_text())
    assert report["calibration_loss"] == json.loads((dense / "training.json").read_text())["loss"]
    assert report["loss"][-1][1] < report["loss"][0][1]
    assert sorted(p.name for p in out.iterdir()) == sorted(p.name for p in dense.iterdir())


@pytest.mark.slow
def test_a_calibration_may_have_a_learning_rate_of_its_own(base, tmp_path):
    slower = train(base, EXAMPLES, DENSE.but(learning_rate=1e-3), tmp_path / "slower")
    out = train(base, EXAMPLES, sparse(calibration_learning_rate=1e-3, density=0.3), tmp_path / "sparse")
    magnitudes, trained = abs(together(factors(slower)[1])), together(factors(out)[1])
    count = int(0.3 * len(trained))
    assert set(np.flatnonzero(trained)) == set(np.argsort(-magnitudes, kind="stable")[:count])


@pytest.mark.slow
def test_with_all_entries_it_is_lori_d_bit_for_bit(base, tmp_path):
    dense = train(base, EXAMPLES, DENSE, tmp_path / "dense")
    full = train(base, EXAMPLES, sparse(density=1.0), tmp_path / "full")
    assert weights(full) == weights(dense)


@pytest.mark.slow
def test_a_merged_adapter_is_gone_on_with_from_what_it_is(base, tmp_path):
    first = train(base, EXAMPLES, DENSE, tmp_path / "first")
    dense, further = (
        factors(train(first, EXAMPLES, settings.but(seed=1), tmp_path / name))[1]
        for name, settings in (("dense", DENSE), ("further", sparse()))
    )
    begun = together(factors(first)[1])
    moved = np.flatnonzero(together(further) != begun)
    count = len(begun) // 10
    assert set(moved) == set(np.argsort(-abs(together(dense) - begun), kind="stable")[:count])


def weights(out):
    return (out / "adapter_model.safetensors").read_bytes()


def stopped_after(steps, monkeypatch):
    """Stop a training after so many steps of both its trainings, as Ctrl-C does; return what is counted."""
    on_step_end, done = optimise._Watch.on_step_end, []

    def stop(self, args, state, control, **more):
        on_step_end(self, args, state, control, **more)
        done.append(state.global_step)
        if len(done) == steps:
            raise KeyboardInterrupt

    monkeypatch.setattr(optimise._Watch, "on_step_end", stop)
    return done


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "rest"),
    [
        pytest.param(5, [*range(5, 13), *range(1, 13)], marks=pytest.mark.full),
        (12, [12, *range(1, 13)]),
        pytest.param(18, [*range(6, 13)], marks=pytest.mark.full),
    ],
)
def test_stopped_in_either_training_it_ends_with_the_same_bits(base, tmp_path, monkeypatch, step, rest):
    whole = train(base, EXAMPLES, sparse(), tmp_path / "whole")
    with monkeypatch.context() as patch:
        stopped_after(step, patch)
        with pytest.raises(KeyboardInterrupt):
            train(base, EXAMPLES, sparse(), tmp_path / "stopped")
    assert not (tmp_path / "stopped").exists()
    with monkeypatch.context() as patch:
        done = stopped_after(None, patch)
        again = train(base, EXAMPLES, sparse(), tmp_path / "stopped")
    assert done == rest
    assert weights(again) == weights(whole)
    reports = [json.loads((out / "training.json").read_text()) for out in (whole, again)]
    assert [reports[0][key] for key in ("loss", "calibration_loss")] == [
        reports[1][key] for key in ("loss", "calibration_loss")
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stopped", "whole"]


def test_masks_decide_what_is_trained_and_are_of_lori_s_alone():
    assert sparse().deciding["adapter"]["density"] == 0.1
    assert sparse().deciding != sparse(density=0.2).deciding
    assert sparse().deciding != sparse(calibration_learning_rate=1e-3).deciding
    assert set(DENSE.deciding["adapter"]) == {"rank", "alpha", "targets", "dropout", "init"}
    for setting in ("density", "calibration_learning_rate"):
        with pytest.raises(ValueError, match=f"{setting} is of the init 'lori_s', and the init is 'lori_d'"):
            AdapterSettings(init="lori_d", **{setting: 0.5})
