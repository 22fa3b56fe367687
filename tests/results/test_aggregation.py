"""A benchmark's score is a function of means over documents, Matthews' correlation too."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import matthews_corrcoef

from results import bootstrap
from results.aggregation import aggregate, from_means, terms


def pairs(gold, predicted, task="cola"):
    return pd.DataFrame(
        {
            "lm_eval_task": task,
            "doc_id": range(len(gold)),
            "gold": gold,
            "predicted": predicted,
            "score": [float(a == b) for a, b in zip(gold, predicted, strict=True)],
        }
    )


def drawn(seed, size=200):
    generator = np.random.default_rng(seed)
    gold = generator.integers(0, 2, size)
    return gold, np.where(generator.random(size) < 0.7, gold, 1 - gold)


@pytest.mark.parametrize("seed", range(5))
def test_matthews_correlation_is_sklearns(seed):
    gold, predicted = drawn(seed)
    assert aggregate("mcc", pairs(gold, predicted)) == pytest.approx(matthews_corrcoef(gold, predicted))


@pytest.mark.parametrize(("gold", "predicted"), [([1, 1, 1], [0, 1, 1]), ([0, 1, 1], [1, 1, 1])])
def test_it_is_zero_where_a_side_is_constant(gold, predicted):
    assert aggregate("mcc", pairs(gold, predicted)) == 0.0


def test_other_metrics_are_means_of_the_tasks_means():
    one, other = pairs([1, 1], [1, 0], "a"), pairs([1], [1], "b")
    assert aggregate("acc", pd.concat([one, other])) == pytest.approx((0.5 + 1) / 2)


def test_a_resample_is_the_correlation_of_the_drawn_documents():
    gold, predicted = drawn(7)
    aligned = bootstrap.align_documents("glue_cola", "mcc", {"model": pairs(gold, predicted)})
    resampled = bootstrap.resample_scores(aligned, resamples=4000)["model"]
    by_hand = []
    generator = np.random.default_rng(1)
    for _ in range(4000):
        of = generator.integers(0, len(gold), len(gold))
        # Of pairs of zeros and ones Matthews' correlation is Pearson's.
        by_hand.append(np.corrcoef(gold[of], predicted[of])[0, 1])
    assert resampled.mean() == pytest.approx(np.mean(by_hand), abs=0.005)
    assert resampled.std() == pytest.approx(np.std(by_hand), rel=0.05)


def test_means_of_many_resamples_are_turned_at_once():
    table = pairs(*drawn(3))
    means = terms("mcc", table).mean(axis=1)
    stacked = np.stack([means, means], axis=1)
    assert from_means("mcc", stacked) == pytest.approx([float(from_means("mcc", means))] * 2)


def test_a_perplexity_is_over_all_words_together():
    logprobs, units = [-6.0, -1.0], [3, 4]
    table = pd.DataFrame({"lm_eval_task": "a", "logprob": logprobs, "units": units})
    assert aggregate("word_perplexity", table) == pytest.approx(np.exp(7 / 7))
    assert aggregate("bits_per_byte", table) == pytest.approx(1 / np.log(2))
