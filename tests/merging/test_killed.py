"""A merge that is killed at any moment is absent, can be gone on with, or is complete."""

import json
import multiprocessing
import random
import time

import pytest
import torch
from safetensors.torch import save_file

from merging.checkpoints.checkpoint import Checkpoint
from merging.merge import merge

pytestmark = pytest.mark.slow

KILLS = 20
LAYERS = 40


@pytest.fixture
def recipe(save, recipe_for):
    """A merge in three passes over a few dozen tensors, that takes a few tenths of a second."""
    made = {}
    for seed, name in enumerate(("base", "a", "b")):
        drawn = torch.Generator().manual_seed(seed)
        made[name] = save(name, {"w": torch.zeros(1)})
        weights = {f"model.layers.{i}.w": torch.randn((300, 301), generator=drawn) for i in range(LAYERS)}
        save_file(weights, made[name] / "model.safetensors", metadata={"format": "pt"})
    base = made.pop("base")
    return recipe_for(base, made, "ties", max_shard_size=5_000_000)


def _merge(recipe, out):
    torch.set_num_threads(2)
    merge(recipe, out, progress=False, block_size=2**14)


def _finished(folder):
    """The files of a merge by name, less the one that has its seconds in it."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "merge.json"}


@pytest.mark.full
def test_a_merge_killed_at_twenty_random_moments(recipe, tmp_path):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["merging.merge", "merging.methods.ties"])
    moments = random.Random(0)
    _run(context, recipe, tmp_path / "whole")
    started = time.monotonic()
    _run(context, recipe, tmp_path / "again")
    seconds = time.monotonic() - started
    whole, found = _finished(tmp_path / "whole"), {"absent": 0, "resumable": 0, "complete": 0}
    for kill in range(KILLS):
        out = tmp_path / f"out {kill}"
        process = context.Process(target=_merge, args=(recipe, out))
        process.start()
        process.join(moments.uniform(0, seconds))
        process.kill()
        process.join()
        left = list(tmp_path.glob(f".{out.name}.*"))
        if out.exists():
            found["complete"] += 1
            assert left == []
        elif left:
            found["resumable"] += 1
            assert len(left) == 1
            assert left[0].suffix == ".partial"
        else:
            found["absent"] += 1
        if not out.exists():
            merge(recipe, out, progress=False, block_size=2**14)
        assert _finished(out) == whole
        assert json.loads((out / "merge.json").read_text())["model"]["entries"] == LAYERS * 300 * 301
        assert Checkpoint.open(out).identity() == Checkpoint.open(tmp_path / "whole").identity()
        assert list(tmp_path.glob(".out*")) == []
    assert found["resumable"] >= KILLS / 4, found


def _run(context, recipe, out):
    process = context.Process(target=_merge, args=(recipe, out))
    process.start()
    process.join()
    assert process.exitcode == 0
