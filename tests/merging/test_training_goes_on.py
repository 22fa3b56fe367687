"""Adapters are trained as peft has them; a stopped training ends as if it had not been stopped."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from tiny import EXAMPLES
from transformers import AutoModelForCausalLM, TrainingArguments

from merging import optimise
from merging.checkpoints.adapted import open_checkpoint
from merging.checkpoints.adapter import Adapter
from merging.train_settings import AdapterSettings, TrainSettings
from merging.training import train
from results.errors import InputError

pytestmark = pytest.mark.slow

FULL = TrainSettings(epochs=3, batch_size=4, learning_rate=1e-2, cpu=True, save_seconds=0)
LORA = FULL.but(adapter=AdapterSettings(rank=4, alpha=8, targets=("q_proj", "up_proj"), dropout=0.1))


def stopped_at(step, monkeypatch):
    """Stop the next training after a step, as Ctrl-C does."""
    on_step_end = optimise._Watch.on_step_end

    def stop(self, args, state, control, **more):
        on_step_end(self, args, state, control, **more)
        if state.global_step == step:
            raise KeyboardInterrupt

    monkeypatch.setattr(optimise._Watch, "on_step_end", stop)


def weights(out):
    return next(out.glob("*.safetensors")).read_bytes()


@pytest.mark.parametrize(
    ("settings", "step"),
    [
        (FULL, 3),
        (FULL, 6),
        (LORA, 6),
        pytest.param(FULL.but(accumulation=2, group_by_length=False), 6, marks=pytest.mark.full),
        pytest.param(LORA.but(order="trainer", group_by_length=False), 6, marks=pytest.mark.full),
    ],
)
def test_a_stopped_training_ends_with_the_same_bits(base, tmp_path, monkeypatch, settings, step):
    whole = train(base, EXAMPLES, settings, tmp_path / "whole")
    steps = []
    with monkeypatch.context() as patch:
        stopped_at(step, patch)
        with pytest.raises(KeyboardInterrupt):
            train(base, EXAMPLES, settings, tmp_path / "stopped")
    assert not (tmp_path / "stopped").exists()
    assert len(list(tmp_path.glob(".stopped.*/saves/checkpoint-*"))) == 1
    on_step_end = optimise._Watch.on_step_end
    with monkeypatch.context() as patch:
        patch.setattr(
            optimise._Watch,
            "on_step_end",
            lambda self, args, state, control, **more: (
                steps.append(state.global_step),
                on_step_end(self, args, state, control, **more),
            )[1],
        )
        again = train(base, EXAMPLES, settings, tmp_path / "stopped")
    assert steps == list(range(step, 13))
    assert weights(again) == weights(whole)
    reports = [json.loads((out / "training.json").read_text()) for out in (whole, again)]
    assert reports[0]["loss"] == reports[1]["loss"]
    assert not (again / "saves").exists()


def test_an_adapter_is_what_peft_opens(base, tmp_path):
    out = train(base, EXAMPLES, LORA, tmp_path / "adapter")
    assert not (out / "model.safetensors").exists()
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), out).merge_and_unload()
    opened = open_checkpoint(out)
    assert all(torch.allclose(opened.tensor(n), model.state_dict()[n], atol=1e-6) for n in opened.names)
    assert Adapter.open(out).base == str(base.resolve())


def test_an_adapter_is_gone_on_with(base, tmp_path):
    first = train(base, EXAMPLES, LORA, tmp_path / "first")
    second = train(first, EXAMPLES, LORA, tmp_path / "second")
    assert Adapter.open(second).base == str(base.resolve())
    one, two = (load_file(out / "adapter_model.safetensors") for out in (first, second))
    assert one.keys() == two.keys()
    assert all(not torch.equal(one[name], two[name]) for name in one)
    losses = [json.loads((out / "training.json").read_text())["loss"] for out in (first, second)]
    assert losses[1][0][1] < losses[0][0][1]
    with pytest.raises(InputError, match="with r 4, and 8"):
        train(first, EXAMPLES, LORA.but(adapter=AdapterSettings(rank=8, alpha=8)), tmp_path / "third")


def test_parts_of_a_batch_give_nearly_the_same_weights(base, tmp_path):
    outs = [
        train(base, EXAMPLES, FULL.but(accumulation=parts, max_steps=2), tmp_path / str(parts))
        for parts in (1, 2)
    ]
    one, two = (load_file(out / "model.safetensors") for out in outs)
    assert all(torch.allclose(one[name], two[name], atol=2e-4) for name in one)
    with pytest.raises(InputError, match="3 equal parts"):
        train(base, EXAMPLES, FULL.but(accumulation=3), tmp_path / "3")


def test_a_loss_that_is_no_number_ends_the_training(base, tmp_path):
    with pytest.raises(InputError, match=r"loss of the training is nan at step \d+ of 40"):
        train(base, EXAMPLES, FULL.but(learning_rate=1e30, max_steps=40), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_layers_that_are_not_there_are_named(base, tmp_path):
    odd = LORA.but(adapter=AdapterSettings(targets=("c_attn",)))
    with pytest.raises(InputError, match="none of the layers"):
        train(base, EXAMPLES, odd, tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"rank": 8}, "with r 4, and 8"),
        ({"alpha": 4}, "lora_alpha 8.0, and 4.0"),
        ({"targets": ("q_proj",)}, r"target_modules \['q_proj', 'up_proj'\], and \['q_proj'\]"),
        ({"dropout": 0.0}, "lora_dropout 0.1, and 0.0"),
    ],
)
def test_an_adapter_is_gone_on_with_as_it_is(base, tmp_path, change, complaint):
    begun = train(base, EXAMPLES, LORA.but(max_steps=1), tmp_path / "begun")
    other = LORA.but(max_steps=1, adapter=LORA.adapter.but(**change))
    with pytest.raises(InputError, match=complaint):
        train(begun, EXAMPLES, other, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_process_trains_on_one_of_several_gpus(base, tmp_path, monkeypatch):
    """Over two the Trainer would read batches of twice the size."""
    found = []

    class Seen(TrainingArguments):
        @property
        def n_gpu(self):
            return self._n_gpu

        def __post_init__(self):
            super().__post_init__()
            self._n_gpu = 2
            found.append(self)

    monkeypatch.setattr(optimise, "TrainingArguments", Seen)
    train(base, EXAMPLES, FULL.but(max_steps=1), tmp_path / "out")
    (arguments,) = found
    assert (arguments.n_gpu, arguments.train_batch_size) == (1, 4)


def test_a_loss_that_breaks_in_the_last_steps_is_refused(base, tmp_path, monkeypatch):
    """Between the points of the loss curve too."""
    monkeypatch.setattr(optimise, "LOSS_POINTS", 1)
    settings = FULL.but(max_steps=5)
    collate, steps = optimise.collate, []

    def broken(rows, padding, **options):
        batch = collate(rows, padding, **options)
        steps.append(1)
        if len(steps) == 5:
            monkeypatch.setattr(
                torch.nn.functional, "cross_entropy", lambda logits, *_, **__: logits.sum() / 0 * 0
            )
        return batch

    monkeypatch.setattr(optimise, "collate", broken)
    with pytest.raises(InputError, match="loss of the training is nan at step 5 of 5"):
        train(base, EXAMPLES, settings, tmp_path / "out")
    assert not (tmp_path / "out").exists()


TOGETHER = """
import sys
from pathlib import Path
sys.path[:0] = {paths!r}
from tiny import EXAMPLES
from test_training_goes_on import FULL
from merging.training import train
train(Path({base!r}), EXAMPLES, FULL, Path({out!r}))
"""


@pytest.mark.full
def test_two_processes_train_as_one_does(base, tmp_path):
    one = train(base, EXAMPLES, FULL, tmp_path / "one")
    script = tmp_path / "together.py"
    paths = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
    script.write_text(TOGETHER.format(paths=paths, base=str(base), out=str(tmp_path / "two")))
    launched = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    subprocess.run([*launched, str(script)], env=environment, check=True, capture_output=True)
    ours, theirs = (load_file(out / "model.safetensors") for out in (one, tmp_path / "two"))
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-5) for name in ours)
    assert any(not torch.equal(ours[name], theirs[name]) for name in ours)  # sums of another order
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "together.py", "two"]
