"""How far a score is known: its standard error and interval over documents."""

from dataclasses import dataclass

import numpy as np

from results.aggregation import document_columns
from results.bootstrap import RESAMPLES, align_documents, resample_scores
from results.intervals import Interval, percentile_interval
from results.record import Record
from results.shared_items import ITEM
from results.store import DOCUMENT_KEY, Store


@dataclass(frozen=True)
class Uncertainty:
    """What resampling the documents says of a score; None where there is one document only.

    Attributes:
        standard_error: the standard deviation of the score over resamples.
        interval: 95 % of the resamples.
    """

    standard_error: float | None
    interval: Interval | None


def uncertainty(record: Record, store: Store, *, resamples: int = RESAMPLES) -> Uncertainty:
    """Resample the documents of a record, as comparisons do (docs/intervals.md).

    Raises:
        InputError: the store does not have the record's documents as they were written.
    """
    if record.n < 2:
        return Uncertainty(None, None)
    columns = [*DOCUMENT_KEY, ITEM, *document_columns(record.metric)]
    documents = {record.name: store.documents(record, columns)}
    aligned = align_documents(record.key.benchmark, record.metric, documents)
    draws = resample_scores(aligned, resamples=resamples)[record.name]
    known = draws[~np.isnan(draws)]
    error = float(known.std(ddof=1)) if known.size > 1 else None
    return Uncertainty(error, percentile_interval(draws))
