"""On a base of the lab, of few steps, our LM class gives what lm-eval's own class for transformers gives."""

import pytest
import torch
from lm_eval.models.huggingface import HFLM
from transformers import AutoModelForCausalLM

from bench.answers import run_lm_eval
from bench.data import load_rows
from bench.engine import EngineSettings
from bench.engine_registry import open_engine
from bench.lm import EngineLM
from bench.score_settings import ScoreSettings
from bench.suite import load_benchmark
from manyshot.lab.base import BaseSettings, make_base

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def both_models(tmp_path_factory):
    checkpoint = make_base(tmp_path_factory.mktemp("lab") / "base", BaseSettings.smoke())
    model = AutoModelForCausalLM.from_pretrained(checkpoint)
    with torch.no_grad():  # what is hardly trained says the same to all
        for weights in model.parameters():
            weights.mul_(4 if weights.ndim == 2 else 1)
    model.save_pretrained(checkpoint)
    theirs = HFLM(pretrained=str(checkpoint), dtype="float32", device="cpu", batch_size=32)
    return EngineLM(open_engine(checkpoint, EngineSettings(dtype="float32", device="cpu"))), theirs


def both(both_models, name):
    benchmark = load_benchmark(name)
    rows = {task.name: load_rows(task, None) for task in benchmark.tasks}
    return [run_lm_eval(model, benchmark, rows, ScoreSettings(limit=200)) for model in both_models]


@pytest.mark.parametrize("name", ["lab_math", "lab_reading", "lab_yes_no", "lab_multilingual"])
def test_metrics_are_the_same(both_models, name):
    ours, theirs = both(both_models, name)
    assert ours["results"] == theirs["results"]
    assert sum(len(samples) for samples in ours["samples"].values()) >= 200


def test_answers_are_the_same(both_models):
    ours, theirs = both(both_models, "lab_math")
    answers = [
        {sample["doc_id"]: sample["resps"] for sample in results["samples"]["lab_math"]}
        for results in (ours, theirs)
    ]
    assert answers[0] == answers[1]
    assert len(answers[0]) == 200
    assert len({str(answer) for answer in answers[0].values()}) > 20


def test_loglikelihoods_agree_to_1e_4(both_models):
    ours, theirs = both(both_models, "lab_yes_no")
    pairs = [
        (float(mine[0][0]), float(other[0][0]))
        for sample, reference in zip(
            ours["samples"]["lab_yes_no"], theirs["samples"]["lab_yes_no"], strict=True
        )
        for mine, other in zip(sample["resps"], reference["resps"], strict=True)
    ]
    assert len(pairs) == 600
    assert max(abs(mine - other) for mine, other in pairs) < 1e-4
