"""Validation documents in parts: each document is in one of them, and together they are the whole."""

import numpy as np
import pytest
from tiny import tiny_llama

from bench.engine import EngineSettings
from bench.score_settings import ScoreSettings
from bench.scored_checkpoint import ScoredCheckpoint
from bench.scoring import Scorer
from bench.signals import ValidationSignals
from bench.suite import load_suite
from bench.validation_parts import ValidationParts
from merging.train_settings import TrainSettings
from results.errors import InputError
from results.store import Store

ROWS, ANSWERS = "lab_multilingual", "lab_math"
SHARES = (0.25, 0.5, 1.0)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    return [ScoredCheckpoint.open(str(tiny_llama(folder / str(seed), seed))) for seed in (0, 1)]


@pytest.fixture(scope="module")
def suite():
    """A task with validation rows, and one of which the likelihood of answers stands in."""
    lab = load_suite("lab")
    answers = lab.tasks["math"].but(validation_split=None)
    return lab.but(tasks={"multilingual": lab.tasks["multilingual"], "math": answers}, forgetting=())


@pytest.fixture(scope="module")
def signals(suite, tmp_path_factory):
    settings = ScoreSettings(engine=EngineSettings(name="hf", dtype="float32", device="cpu"), limit=16)
    scorer = Scorer(settings, Store(tmp_path_factory.mktemp("store")), None)
    yield ValidationSignals(scorer, suite, None, limit=8, training=TrainSettings(max_length=400))
    scorer.close()


def kept_of(parts, checkpoint, number=None):
    """What is kept of the first so many parts, by benchmark."""
    scores = [parts.score(checkpoint, part) for part in range(number or parts.parts)]
    return {name: [of_part[name].kept for of_part in scores] for name in scores[0]}


@pytest.fixture(scope="module")
def in_parts(signals, suite):
    return ValidationParts(signals, suite, SHARES, seed=1)


def test_all_parts_together_are_the_validation_score(signals, suite, in_parts, checkpoints):
    whole = ValidationParts(signals, suite)
    for checkpoint in checkpoints:
        values = whole.values(kept_of(whole, checkpoint))
        assert values[ROWS] == signals.scores(checkpoint.path, "multilingual")[0]
        assert values[ANSWERS] == pytest.approx(signals.scores(checkpoint.path, "math")[0], rel=1e-9)
        assert in_parts.values(kept_of(in_parts, checkpoint)) == pytest.approx(values, rel=1e-5)


def test_each_document_is_in_one_part_with_its_translations(signals, in_parts, checkpoints):
    store = signals.scorer.store
    documents = [store.documents(store.get(kept)) for kept in kept_of(in_parts, checkpoints[0])[ROWS]]
    numbers = [set(zip(of["lm_eval_task"], of["doc_id"], strict=True)) for of in documents]
    assert len(set.union(*numbers)) == sum(map(len, numbers)) == 3 * 16
    items = [set(of["item"]) for of in documents]
    assert not items[0] & items[1] and not items[0] & items[2] and not items[1] & items[2]
    total = sum(map(len, items))
    assert [len(of) for of in items] == [
        round(0.25 * total),
        round(0.5 * total) - round(0.25 * total),
        total - round(0.5 * total),
    ]
    for of in documents:  # the right rows were asked
        assert store.get(kept_of(in_parts, checkpoints[0])[ROWS][0]).key.benchmark == (
            f"{ROWS}@validation[0-0.25, seed 1]"
        )
        assert of["prompt"].str.len().min() > 0


def test_documents_are_those_of_the_whole_with_their_scores(signals, suite, in_parts, checkpoints):
    store, whole = signals.scorer.store, ValidationParts(signals, suite)
    (kept,) = kept_of(whole, checkpoints[0])[ROWS]
    key = ["lm_eval_task", "doc_id"]
    of_whole = store.documents(store.get(kept)).set_index(key)
    for kept in kept_of(in_parts, checkpoints[0])[ROWS]:
        part = store.documents(store.get(kept)).set_index(key)
        same = of_whole.loc[part.index]
        assert list(part["doc_hash"]) == list(same["doc_hash"])
        assert list(part["score"]) == list(same["score"])


def test_another_seed_reads_in_another_order(signals, suite, in_parts, checkpoints):
    other = ValidationParts(signals, suite, SHARES, seed=2)
    assert kept_of(other, checkpoints[0], 1)[ROWS] != kept_of(in_parts, checkpoints[0], 1)[ROWS]


@pytest.mark.parametrize("seed", range(5))
def test_each_part_has_its_share_of_each_language(signals, suite, seed):
    parts = ValidationParts(signals, suite, (0.125, 0.25, 0.5, 1.0), seed)
    benchmark = parts._sources[ROWS]
    asked = [benchmark._part(part).documents for part in range(4)]
    for language in asked[0]:
        so_far = np.cumsum([len(of[language]) for of in asked])
        np.testing.assert_allclose(so_far, [2, 4, 8, 16], atol=1.5)


def test_documents_are_counted_once(in_parts, checkpoints):
    scores = [in_parts.score(checkpoints[0], part) for part in range(3)]
    assert sum(part[ROWS].documents for part in scores) == 3 * 16
    assert sum(part[ANSWERS].documents for part in scores) == 8


def test_checkpoints_are_resampled_on_the_same_documents(in_parts, checkpoints):
    kept = {str(place): kept_of(in_parts, checkpoint, 2) for place, checkpoint in enumerate(checkpoints)}
    drawn = in_parts.resampled({**kept, "again": kept["0"]})
    for of in drawn.values():
        np.testing.assert_array_equal(of["0"], of["again"])
        assert of["0"].shape == (2000,)
    assert np.mean(drawn[ROWS]["1"]) == pytest.approx(in_parts.values(kept["1"])[ROWS], rel=0.05)
    assert np.std(drawn[ANSWERS]["0"]) > 0


def test_more_parts_than_documents_are_refused(signals, suite):
    with pytest.raises(InputError, match="too few for 2 parts: give a larger `first` share"):
        ValidationParts(signals, suite, (0.01, 1.0))
