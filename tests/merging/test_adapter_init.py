"""How the factors of an adapter begin, and which of them are trained."""

import pytest
import torch
from safetensors.torch import load_file
from tiny import EXAMPLES

from merging.checkpoints.adapted import open_checkpoint
from merging.train_settings import AdapterSettings, TrainSettings
from merging.training import train

pytestmark = pytest.mark.slow

TARGETS = ("q_proj", "up_proj")


def factors(folder):
    stored = load_file(folder / "adapter_model.safetensors")
    return [{n: t for n, t in stored.items() if f".lora_{side}." in n} for side in "AB"]


def settings(init, **more):
    adapter = AdapterSettings(rank=4, alpha=8, targets=TARGETS, init=init)
    return TrainSettings(**{"max_steps": 2, "batch_size": 4, "cpu": True, "adapter": adapter, **more})


def test_lori_trains_b_alone_on_an_a_of_the_task(base, tmp_path):
    asked = settings("lori_d")
    first = train(base, EXAMPLES[:8], asked, tmp_path / "first")
    longer = train(base, EXAMPLES[:8], asked.but(max_steps=3), tmp_path / "longer")
    other = train(base, EXAMPLES[1:9], asked, tmp_path / "other")
    further = train(first, EXAMPLES[:8], asked, tmp_path / "further")
    (a, b), (a_longer, b_longer), (a_other, _), (a_further, b_further) = map(
        factors, (first, longer, other, further)
    )
    for name in a:
        assert torch.equal(a[name], a_longer[name]) and torch.equal(a[name], a_further[name])
        assert not torch.equal(a[name], a_other[name])
    for name in b:
        assert b[name].any()
        assert not torch.equal(b[name], b_longer[name]) and not torch.equal(b[name], b_further[name])
    # By default A is one for all tasks, and trained.
    plain = factors(train(base, EXAMPLES[:8], settings("default"), tmp_path / "plain"))[0]
    assert not any(torch.equal(plain[name], a[name]) for name in a)


def test_orthogonal_factors_begin_without_a_change(base, tmp_path):
    asked = settings("orthogonal", max_steps=1, learning_rate=1e-12)
    a, b = factors(train(base, EXAMPLES[:4], asked, tmp_path / "out"))
    for (name, right), left in zip(a.items(), b.values(), strict=True):
        assert left.norm() > 0.1 and right.norm() > 0.1, name
        torch.testing.assert_close(left @ right, torch.zeros(len(left), right.shape[1]), rtol=0, atol=1e-5)
    assert open_checkpoint(tmp_path / "out").identity().digest
    with pytest.raises(ValueError, match="even rank, and the rank is 3"):
        AdapterSettings(rank=3, init="orthogonal")


def test_a_default_init_leaves_kept_trainings_what_they_are():
    assert "init" not in settings("default").deciding["adapter"]
    assert settings("gaussian").deciding["adapter"]["init"] == "gaussian"
