"""On the lab's suite vLLM and transformers give the same answers, log-likelihoods and scores."""

import json

import numpy as np
import pytest
from need_vllm import need

from bench.engine import EngineSettings
from bench.score_settings import ScoreSettings
from bench.scored_checkpoint import ScoredCheckpoint
from bench.scoring import Scorer
from bench.suite import load_benchmark, load_suite
from results.record import CheckpointIdentity
from results.store import Store

# The family is trained for five minutes; each engine alone is tested in every run (test_engine_contract.py).
pytestmark = pytest.mark.full

# In bfloat16 each engine rounds in its own places, and is as far from float32 as the two are from each other.
SAME_ANSWERS = {"float32": 0.99, "bfloat16": 0.95}
LARGEST_DIFFERENCE = {"float32": 1e-4, "bfloat16": 0.2}
MEAN_DIFFERENCE = {"float32": 1e-4, "bfloat16": 0.02}
DOCUMENTS_APART = 2
LIMIT = 60


@pytest.fixture(scope="module", params=SAME_ANSWERS)
def scored(request, models, tmp_path_factory):
    """Dtype, and by benchmark record and documents of each engine, of a checkpoint that was swapped in."""
    need("vllm")
    dtype, tables = request.param, {}
    for name in ("vllm", "hf"):
        store = Store(tmp_path_factory.mktemp(f"{name}-{dtype}"))
        settings = ScoreSettings(engine=EngineSettings(name=name, dtype=dtype, device="cpu"), limit=LIMIT)
        scorer = Scorer(settings, store, None)
        suite = load_suite("lab")
        first, second = models["base"], models["math"]
        scorer.score(
            ScoredCheckpoint("base", first, CheckpointIdentity(weights="base", config="c", tokenizer="t")),
            load_benchmark("lab_yes_no"),
        )
        identity = CheckpointIdentity(weights="math", config="c", tokenizer="t")
        scorer.answer_ahead(ScoredCheckpoint("math", second, identity), suite.benchmarks)
        for benchmark in suite.benchmarks:
            record = scorer.score(ScoredCheckpoint("math", second, identity), benchmark).record
            tables.setdefault(benchmark.name, []).append((record, store.documents(record)))
        scorer.close()
    return dtype, tables


def test_generated_answers_are_the_same(scored):
    dtype, tables = scored
    same = [
        mine == other
        for (record, one), (_, two) in tables.values()
        if record.tokens["generated"]
        for mine, other in zip(one["output"], two["output"], strict=True)
    ]
    assert len(same) == 4 * LIMIT
    assert np.mean(same) >= SAME_ANSWERS[dtype]


def test_loglikelihoods_are_close(scored):
    dtype, tables = scored
    pairs = [
        (float(mine[0]), float(other[0]))
        for (record, one), (_, two) in tables.values()
        if not record.tokens["generated"]
        for row in zip(one["output"], two["output"], strict=True)
        for mine, other in zip(*map(choices, row), strict=True)
    ]
    differences = np.abs(np.diff(pairs, axis=1))
    assert len(pairs) >= 7 * LIMIT
    assert differences.max() <= LARGEST_DIFFERENCE[dtype]
    assert differences.mean() <= MEAN_DIFFERENCE[dtype]


def choices(output):
    """Log-likelihoods of a document's choices, as the record keeps them."""
    return json.loads(output.replace("(", "[").replace(")", "]").replace("True", "1").replace("False", "0"))


def test_scores_are_within_a_few_documents(scored):
    _, tables = scored
    for (mine, _), (other, _) in tables.values():
        assert mine.value == pytest.approx(other.value, abs=DOCUMENTS_APART / mine.n + 1e-9)
        assert mine.tokens["prompt"] == other.tokens["prompt"]
