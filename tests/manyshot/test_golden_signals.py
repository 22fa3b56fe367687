"""Losses, continuations, divergences and learned coefficients under present versions: see `golden`."""

from pathlib import Path

import numpy as np
import pytest
from golden import check, fingerprint
from tiny import tiny_llama

from bench.continuations import CONTINUATIONS_VERSION
from bench.divergence import DIVERGENCE_VERSION
from bench.engine import EngineSettings
from bench.losses import LOSS_VERSION
from bench.score_settings import ScoreSettings
from bench.scoring import Scorer
from bench.signals import ValidationSignals
from bench.suite import load_suite
from merging.known_methods import make_method
from merging.learning import LEARNING_VERSION, learn_coefficients
from merging.signals import ContinuationSettings
from merging.train_settings import TrainSettings
from results.store import Store

pytestmark = pytest.mark.slow

CONTINUED = ContinuationSettings(inputs=4, max_new_tokens=6)


@pytest.fixture(scope="module")
def signals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("golden")
    settings = ScoreSettings(engine=EngineSettings(name="hf", dtype="float32", device="cpu"), limit=4)
    scorer = Scorer(settings, Store(folder / "store"), None)
    yield ValidationSignals(scorer, load_suite("lab"), None, limit=6, training=TrainSettings(max_length=100))
    scorer.close()


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("checkpoints")
    return [tiny_llama(folder / str(seed), seed) for seed in (0, 1, 2)]


def test_losses(signals, checkpoints):
    found = {
        f"{task} {over}": signals.loss(checkpoints[0], task, over)
        for task in ("math", "safety")
        for over in ("text", "completion")
    }
    check("losses", LOSS_VERSION, found)


def test_continuations(signals, checkpoints):
    continuations = signals.continuations(checkpoints[0], "math", CONTINUED)
    distributions = np.concatenate(
        [continuations.distributions(i).logprobs.exp() for i in range(len(continuations))]
    )
    check("continuations", CONTINUATIONS_VERSION, [continuations.pairs, fingerprint(distributions)])


def test_divergences(signals, checkpoints):
    found = {
        kind: signals.divergence(kind, checkpoints[0], checkpoints[1], "math", CONTINUED)
        for kind in ("kl", "js")
    }
    check("divergences", DIVERGENCE_VERSION, found)


@pytest.mark.parametrize("name", ["divmerge", "adamerging"])
@pytest.mark.parametrize("level", ["task", "layer"])
def test_learned_coefficients(signals, checkpoints, tmp_path, name, level):
    method = make_method(
        name, {"level": level, "inputs": 4, "max_new_tokens": 6, "epochs": 2, "batch_per_task": 2}
    )
    experts = {"math": checkpoints[1], "safety": checkpoints[2]}
    learned = learn_coefficients(
        method, signals, checkpoints[0], experts, seed=0, file=tmp_path / "learned.json"
    )
    result = {"layers": learned.layers, "coefficients": learned.coefficients, "curve": learned.curve}
    check(f"learned_{name}_{level}", LEARNING_VERSION, result)
