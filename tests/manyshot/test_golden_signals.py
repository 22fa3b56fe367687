"""Losses, continuations, divergences and learned coefficients under present versions: see `golden`."""

from pathlib import Path

import numpy as np
import pytest
from golden import check, fingerprint
from tiny import tiny_llama

from bench.divergence import DIVERGENCE_VERSION
from bench.engine import EngineSettings
from bench.losses import LOSS_VERSION
from bench.registry import load_suite
from bench.score_settings import ScoreSettings
from bench.scoring import Scorer
from bench.targets import CONTINUATIONS_VERSION
from manyshot.harness import Asked, Harness
from merging.learning import LEARNING_VERSION
from merging.method import make
from results.store import Store

ASKED = Asked(inputs=4, max_new_tokens=6)


@pytest.fixture(scope="module")
def harness(tmp_path_factory):
    folder = tmp_path_factory.mktemp("golden")
    settings = ScoreSettings(engine=EngineSettings(name="hf", dtype="float32", device="cpu"), limit=4)
    scorer = Scorer(settings, Store(folder / "store"), None)
    yield Harness(scorer, load_suite("lab"), None, limit=6, max_length=100)
    scorer.close()


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("checkpoints")
    return [tiny_llama(folder / str(seed), seed) for seed in (0, 1, 2)]


def test_losses(harness, checkpoints):
    found = {
        f"{task} {over}": harness.loss(checkpoints[0], task, over)
        for task in ("math", "safety")
        for over in ("text", "completion")
    }
    check("losses", LOSS_VERSION, found)


def test_continuations(harness, checkpoints):
    targets = harness.targets(checkpoints[0], "math", ASKED)
    distributions = np.concatenate([targets.distributions(i).logprobs.exp() for i in range(len(targets))])
    check("continuations", CONTINUATIONS_VERSION, [targets.pairs, fingerprint(distributions)])


def test_divergences(harness, checkpoints):
    found = {
        kind: harness.divergence(kind, checkpoints[0], checkpoints[1], "math", ASKED) for kind in ("kl", "js")
    }
    check("divergences", DIVERGENCE_VERSION, found)


@pytest.mark.parametrize("name", ["divmerge", "adamerging"])
@pytest.mark.parametrize("level", ["task", "layer"])
def test_learned_coefficients(harness, checkpoints, tmp_path, name, level):
    method = make(name, {"level": level, "inputs": 4, "max_new_tokens": 6, "epochs": 2, "batch_per_task": 2})
    experts = {"math": checkpoints[1], "safety": checkpoints[2]}
    learned = harness.learn(method, checkpoints[0], experts, seed=0, note=tmp_path / "learned.json")
    result = {"layers": learned.layers, "coefficients": learned.coefficients, "curve": learned.curve}
    check(f"learned_{name}_{level}", LEARNING_VERSION, result)
