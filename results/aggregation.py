"""From documents to a benchmark's score: the mean of their scores, Matthews' correlation, or a perplexity.

Each is a function of means over documents, so that resampling documents is resampling those means.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

MATTHEWS = "mcc"
PERPLEXITIES = ("word_perplexity", "byte_perplexity", "bits_per_byte")
"""Metrics of texts as a whole, from their log-likelihoods and their numbers of words or bytes."""

Values = NDArray[np.float64]


def document_columns(metric: str) -> Sequence[str]:
    """Columns of the documents that the metric is made of."""
    if metric == MATTHEWS:
        return ("gold", "predicted")
    return ("logprob", "units") if metric in PERPLEXITIES else ("score",)


def terms(metric: str, documents: "pd.DataFrame | pa.Table") -> Values:
    """What is averaged over documents: shape (terms, documents)."""
    columns = [np.asarray(documents[name], dtype=np.float64) for name in document_columns(metric)]
    if metric == MATTHEWS:
        gold, predicted = columns
        return np.stack([gold, predicted, gold * predicted])
    return np.stack(columns)


def from_means(metric: str, means: Values) -> Values:
    """The metric, from means of the terms of shape (terms, …); shape (…).

    Matthews' correlation of two classes, 0 and 1, is the covariance of gold and predicted over their standard
    deviations; it is 0 where either is constant, and NaN where a mean is. A perplexity is
    exp(−Σ log-likelihoods / Σ units), and bits per byte its logarithm to base 2.
    """
    if metric in PERPLEXITIES:
        nats = -means[0] / means[1]
        return nats / np.log(2) if metric == "bits_per_byte" else np.exp(nats)
    if metric != MATTHEWS:
        return means[0]
    gold, predicted, both = means
    variance = gold * (1 - gold) * predicted * (1 - predicted)
    usable = ~(variance <= 0)
    root = np.sqrt(np.where(usable, variance, 1.0))
    return np.where(usable, (both - gold * predicted) / root, 0.0)


def aggregate(metric: str, documents: "pd.DataFrame") -> float:
    """The metric over all lm-eval tasks: the mean of each task's.

    Args:
        metric: the primary metric.
        documents: a table with `lm_eval_task` and the columns that `document_columns` names.
    """
    of_tasks = [
        from_means(metric, terms(metric, part).mean(axis=1))
        for _, part in documents.groupby("lm_eval_task", sort=True)
    ]
    return float(np.mean(of_tasks))
