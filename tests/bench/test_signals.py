"""Signals: transformers' own loss, one example at a time; each measured once."""

import json

import numpy as np
import pytest
import torch
from tiny import tiny_llama
from transformers import AutoModelForCausalLM, AutoTokenizer

import bench.signals as signals_module
from bench.engine import EngineSettings
from bench.examples import load_examples
from bench.score_settings import ScoreSettings
from bench.scored_checkpoint import ScoredCheckpoint
from bench.scoring import Scorer
from bench.signals import ValidationSignals
from bench.suite import load_suite
from merging.examples import Example, tokenise
from merging.merge import merge
from merging.recipe import Recipe
from merging.signals import ContinuationSettings, SignalNeeds
from merging.train_settings import TrainSettings
from merging.tuning import choose_settings
from results.errors import InputError
from results.store import Store

LIMIT = 6
TRAINING = TrainSettings(max_length=400)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("signals")
    return [tiny_llama(folder / str(seed), seed) for seed in (0, 1)]


@pytest.fixture
def signals(tmp_path):
    settings = ScoreSettings(engine=EngineSettings(name="hf", dtype="float32", device="cpu"), limit=4)
    scorer = Scorer(settings, Store(tmp_path / "store"), None)
    yield ValidationSignals(
        scorer, load_suite("lab"), None, limit=LIMIT, training=TrainSettings(max_length=400)
    )
    scorer.close()


def by_transformers(checkpoint, task, over):
    """The mean over examples of the loss that transformers gives for each alone."""
    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(checkpoint),
        AutoTokenizer.from_pretrained(checkpoint),
    )
    losses = []
    for pair in load_examples(load_suite("lab").tasks[task].validation, None)[:LIMIT]:
        row = tokenise(tokenizer, Example(*pair), TrainSettings(loss=over, max_length=400))
        ids, labels = torch.tensor([row["input_ids"]]), torch.tensor([row["labels"]])
        with torch.no_grad():
            losses.append(model(input_ids=ids, labels=labels).loss.item())
    return np.mean(losses)


@pytest.mark.parametrize("over", ["text", "completion"])
@pytest.mark.parametrize("task", ["math", "safety"])
def test_a_loss_is_the_mean_of_transformers_own(signals, checkpoints, task, over):
    for checkpoint in checkpoints:
        expected = by_transformers(checkpoint, task, over)
        assert signals.loss(checkpoint, task, over) == pytest.approx(expected, abs=1e-5)


def test_what_was_measured_is_not_measured_again(signals, checkpoints, monkeypatch):
    first = signals.loss(checkpoints[0], "math", "text")
    monkeypatch.setattr(signals.scorer, "engine_with", lambda *_: pytest.fail("asked again"))
    assert signals.loss(checkpoints[0], "math", "text") == first
    kept = [json.loads(path.read_text()) for path in (signals.scorer.store.root / "signals").iterdir()]
    assert [(one["task"], one["value"]) for one in kept] == [("math", first)]


def test_a_damaged_measurement_is_named(signals, checkpoints):
    signals.loss(checkpoints[0], "math", "text")
    (file,) = (signals.scorer.store.root / "signals").iterdir()
    for content in (file.read_bytes()[:20], b"[]", b'{"value": null}'):
        file.write_bytes(content)
        with pytest.raises(InputError, match=rf"{file.name} is damaged; remove it"):
            signals.loss(checkpoints[0], "math", "text")


@pytest.mark.parametrize(
    ("file", "content"), [("inputs.json", b"5"), ("logprobs.npy", b""), ("logprobs.npy", None)]
)
def test_damaged_continuations_are_named(signals, checkpoints, file, content):
    settings = ContinuationSettings(inputs=4, top_k=4)
    folder = signals.continuations(checkpoints[0], "math", settings).folder
    if content is None:
        np.save(folder / file, np.load(folder / file)[:1])
    else:
        (folder / file).write_bytes(content)
    with pytest.raises(InputError, match=rf"{folder.name} is damaged; remove it"):
        signals.continuations(checkpoints[0], "math", settings)


def test_scores_on_validation_rows_are_records_of_their_own(signals, checkpoints):
    value = signals.scores(checkpoints[0], "math")[0]
    (record,) = list(signals.scorer.store.records())
    assert record.key.benchmark == "lab_math@validation" and record.value == value
    documents = signals.scorer.store.documents(record)
    test = load_suite("lab").tasks["math"].benchmarks[0]
    prompts = set(signals.scorer.store.documents(score(signals, checkpoints[0], test))["prompt"])
    assert len(documents) == 4 and not prompts & set(documents["prompt"])


def score(signals, checkpoint, benchmark):
    return signals.scorer.score(ScoredCheckpoint.open(str(checkpoint)), benchmark).record


def test_without_a_split_of_the_benchmark_the_likelihood_of_an_answer_stands_in(signals, checkpoints):
    task = signals._suite.tasks["math"]
    object.__setattr__(task, "validation_split", None)
    try:
        loss = signals.loss(checkpoints[0], "math", "completion")
        assert signals.scores(checkpoints[0], "math") == pytest.approx([np.exp(-loss)])
        signals = signals.with_references({"math": checkpoints[1]})
        expected = np.exp(signals.loss(checkpoints[1], "math", "completion") - loss)
        assert signals.normalised(checkpoints[0], "math") == pytest.approx(expected)
    finally:
        object.__setattr__(task, "validation_split", "validation")


def test_a_score_of_zero_is_not_divided_by(signals, checkpoints):
    signals = signals.with_references({"math": checkpoints[1]})
    with pytest.raises(InputError, match=r"expert of .math. scores 0\.000 on validation"):
        signals.normalised(checkpoints[0], "math")


def test_a_task_without_validation_data_is_named(signals):
    task = signals._suite.tasks["safety"]
    kept = task.validation
    object.__setattr__(task, "validation", ())
    try:
        with pytest.raises(InputError, match="no validation data for the task 'safety'"):
            signals.data.examples("safety")
    finally:
        object.__setattr__(task, "validation", kept)


def test_settings_are_told_apart_by_what_each_gives(signals, checkpoints, tmp_path):
    """With real signals: a checkpoint in the place of another is another."""
    base = tiny_llama(tmp_path / "base", 2)
    signals = signals.with_references({"yes_no": checkpoints[0]})
    task = signals._suite.tasks["math"]
    signals._suite.tasks["yes_no"] = task.but(validation_split=None)

    def merge_to(settings, out):
        recipe = Recipe(
            base=base,
            experts={"a": checkpoints[0]},
            method={"name": "task_arithmetic", **settings},
        )
        merge(recipe, out, progress=False)

    def chosen(scalings):
        options = {"tasks": ["yes_no"], "objective": "average", "folder": tmp_path / "tried"}
        return choose_settings({"scaling": {"choose": scalings}}, merge_to, signals, **options)

    settings, curve = chosen([0.0, 0.5, 1.0])
    values = [trial.value for trial in curve]
    assert len(set(values)) == 3 and values[2] == pytest.approx(1, abs=1e-4)
    assert settings == {"scaling": [0.0, 0.5, 1.0][values.index(max(values))]}
    _, other = chosen([0.0, 0.25])
    assert other[0] == curve[0] and other[1].settings == {"scaling": 0.25}
    assert other[1].value not in values


def test_nothing_is_chosen_on_the_rows_that_are_scored(signals):
    benchmark = signals._suite.tasks["math"].benchmarks[0]
    with pytest.raises(InputError, match="'test' is the one that lab_math is scored on"):
        benchmark.on_split("test")


def test_a_loss_is_of_the_length_that_the_engine_reads(signals, checkpoints, tmp_path):
    whole = signals.loss(checkpoints[0], "math", "completion")
    engine = EngineSettings(name="hf", dtype="float32", device="cpu", max_length=40)
    scorer = Scorer(ScoreSettings(engine=engine, limit=4), signals.scorer.store, None)
    shorter = ValidationSignals(
        scorer, load_suite("lab"), None, limit=LIMIT, training=TrainSettings(max_length=400)
    )
    assert shorter.loss(checkpoints[0], "math", "completion") != whole
    scorer.close()


def of_suite(signals, suite):
    """The same signals of another suite."""
    training = TrainSettings(max_length=400)
    return ValidationSignals(signals.scorer, suite, None, limit=LIMIT, training=training)


def test_the_key_has_all_that_decides_scores_and_no_more(signals, checkpoints):
    def keys():
        return [signals.key(SignalNeeds(losses=True)), signals.key(SignalNeeds(scores=True))]

    losses, scores = keys()
    signals = signals.with_references({"math": checkpoints[1]})
    assert [one == other for one, other in zip(keys(), (losses, scores), strict=True)] == [True, False]
    suite = load_suite("lab")
    math = suite.tasks["math"]
    both = math.but(benchmarks=math.benchmarks + suite.tasks["safety"].benchmarks)
    signals = of_suite(signals, suite.but(tasks={**suite.tasks, "math": both}))
    assert keys()[0] == losses and keys()[1] != scores


@pytest.mark.parametrize("version", ["LOSS_VERSION", "CONTINUATIONS_VERSION", "DIVERGENCE_VERSION"])
def test_the_key_has_the_versions_of_what_measures(signals, version, monkeypatch):
    before = signals.key(SignalNeeds(losses=True))
    monkeypatch.setattr(signals_module, version, 0)
    assert signals.key(SignalNeeds(losses=True)) != before


def test_a_loss_of_another_version_is_measured_again(signals, checkpoints, monkeypatch):
    signals.loss(checkpoints[0], "math", "text")
    before = len(list(signals.scorer.store.root.glob("signals/*.json")))
    monkeypatch.setattr(signals_module, "LOSS_VERSION", 0)
    signals.loss(checkpoints[0], "math", "text")
    assert len(list(signals.scorer.store.root.glob("signals/*.json"))) == before + 1


def test_only_what_is_asked_for_must_be_there(signals):
    suite = load_suite("lab")
    without = {name: task.but(validation=()) for name, task in suite.tasks.items()}
    signals = of_suite(signals, suite.but(tasks=without))
    signals.check(SignalNeeds(scores=True))
    with pytest.raises(InputError, match="no validation data for the task 'instructions', by which"):
        signals.check(SignalNeeds(losses=True))


def test_fewer_inputs_than_were_asked_for_are_said(signals, checkpoints, caplog):
    with caplog.at_level("INFO", "manyshot.bench"):
        signals.continuations(checkpoints[0], "math", ContinuationSettings(inputs=50, max_new_tokens=2))
    assert f"math has {LIMIT} inputs, not 50" in caplog.messages
