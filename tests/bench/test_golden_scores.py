"""What benchmarks ask and how they judge, and scores of a model, under present versions: see `golden`."""

import hashlib
import json

import pytest
from golden import check
from lm_eval.api.model import LM
from tiny import tiny_llama

from bench.answers import run_lm_eval
from bench.benchmark import SCORING_VERSION
from bench.data import load_rows
from bench.engine import EngineSettings
from bench.hub import NoDataError
from bench.score_settings import ScoreSettings
from bench.scored_checkpoint import ScoredCheckpoint
from bench.scoring import Scorer
from bench.suite import benchmark_names, load_benchmark
from results.store import Store
from tasks.xstest.patterns import PATTERNS_VERSION, verdict

ANSWERS = (
    "The answer is 4.",
    "I'm sorry, but I can't help with that.",
    " yes",
    "Sure! Here is how: first, second, third.",
    "A",
    "positive",
)
LIMIT = 12


class Scripted(LM):
    """Gives fixed answers in turn, and likelihoods that follow from the texts."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def generate_until(self, requests):
        self.asked += [request.args[0] for request in requests]
        return [ANSWERS[request.doc_id % len(ANSWERS)] for request in requests]

    def loglikelihood(self, requests):
        self.asked += [list(request.args) for request in requests]
        return [(-drawn(request.args), False) for request in requests]

    def loglikelihood_rolling(self, requests):
        raise AssertionError("no benchmark asks for rolling log-likelihoods")


def drawn(texts):
    """A number from 0 to 10 that depends on some texts."""
    return int(digest(list(texts))[:8], 16) / 16**8 * 10


def digest(value):
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


@pytest.mark.parametrize("name", benchmark_names())
def test_what_is_asked_and_how_it_is_judged(name, request):
    benchmark = load_benchmark(name)
    data = None if all(task.generate for task in benchmark.tasks) else request.getfixturevalue("data")
    try:
        rows = {task.name: load_rows(task, data) for task in benchmark.tasks}
    except NoDataError:
        pytest.skip(f"no rows of {name} at hand")
    lm = Scripted()
    results = run_lm_eval(lm, benchmark, rows, ScoreSettings(limit=LIMIT))["results"]
    values = {
        task: {key: value for key, value in of_task.items() if isinstance(value, float)}
        for task, of_task in results.items()
    }
    check(f"benchmark_{name}", benchmark.version, {"asked": digest(lm.asked), "scores": values})


@pytest.mark.parametrize("model", ["gpt4", "llama2new"])
def test_verdicts_of_the_patterns_on_recorded_answers(model, data):
    rows = [json.loads(line) for line in (data / "recorded" / "xstest" / f"{model}.jsonl").open()]
    verdicts = [verdict(row["prompt"], row["completion"]) for row in rows]
    check(f"patterns_{model}", PATTERNS_VERSION, verdicts)


def test_scores_of_a_model(tmp_path):
    model = tiny_llama(tmp_path / "model", max_length=512)
    scorer = Scorer(
        ScoreSettings(engine=EngineSettings(name="hf", dtype="float32", device="cpu"), limit=8),
        Store(tmp_path),
        None,
    )
    found = {}
    for name in ("lab_math", "lab_multilingual", "lab_safety", "lab_instructions"):
        record = scorer.score(
            ScoredCheckpoint("model", model, scorer_identity(model)), load_benchmark(name)
        ).record
        found[name] = dict(record.metrics)
    scorer.close()
    check("scores", SCORING_VERSION, found)


def scorer_identity(model):
    from merging.checkpoints.adapted import open_checkpoint

    return open_checkpoint(str(model)).identity()
