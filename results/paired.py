"""Two checkpoints on one benchmark: the paired difference, how likely chance alone is, and where they differ.

Whether chance alone explains a difference is asked of the same items: where both checkpoints are equally
good, what they said to an item, in all its languages, might as well have been said the other way round. Where
documents are right or wrong and the score is the share of right ones, all ways of swapping are counted. With
one document an item only documents that one side alone got right count, as tosses of a fair coin: that is
McNemar's exact test (Psychometrika 12, 1947), which takes translations for independent tosses and would find
differences where there are none. Elsewhere the two sides are swapped at random, item by item, and the
difference of the scores is taken anew: for a mean that flips the signs of the items' differences, and it
serves Matthews' correlation too.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from results.aggregation import MATTHEWS, from_means
from results.bootstrap import DocumentScores, align_documents, generator_of, resample_scores
from results.intervals import Draws, percentile_interval
from results.record import Record
from results.samples import DifferingDocument, differing_documents, side_by_side
from results.shared_items import numbered
from results.suite import BenchmarkSpec

SWAPS = 9999
MCNEMAR, SWAPPED = "McNemar", "swaps"
_FIRST, _SECOND = "first", "second"
_ENTRIES_AT_ONCE = 1 << 21


@dataclass(frozen=True)
class BenchmarkDifference:
    """Two checkpoints on one benchmark.

    Attributes:
        benchmark: its name.
        metric: its primary metric.
        n: number of documents.
        items: number of items: documents that are one question in several languages are one.
        higher_is_better: whether a larger score is a better one.
        scores: of the two, as the benchmark reports them.
        difference: first − second, on the scale on which higher is better.
        low: lower limit of the difference's 95 % interval, by a paired bootstrap over documents.
        high: upper limit.
        p_value: two-sided.
        test: what it is by: McNemar, or swaps.
        wins: on how many documents the first is better, and on how many the second.
        documents: some on which the first is better, and some on which the second is; those furthest apart
            come first.
    """

    benchmark: str
    metric: str
    n: int
    items: int
    higher_is_better: bool
    scores: tuple[float, float]
    difference: float
    low: float
    high: float
    p_value: float
    test: str
    wins: tuple[int, int]
    documents: tuple[tuple[DifferingDocument, ...], tuple[DifferingDocument, ...]]

    def to_json(self) -> dict[str, Any]:
        """The difference as a JSON value."""
        return asdict(self)


def benchmark_difference(
    benchmark: BenchmarkSpec,
    records: tuple[Record, Record],
    documents: tuple[pd.DataFrame, pd.DataFrame],
    *,
    most: int = 0,
) -> BenchmarkDifference:
    """Compare two checkpoints on one benchmark.

    Args:
        benchmark: for its name, its metric and which scores are better.
        records: of the two, scored in the same way.
        documents: the rows of the records.
        most: how many documents to list on which the first is better, and on which the second is.

    Raises:
        InputError: the two were scored on different documents.
    """
    aligned = align_documents(
        benchmark.name, benchmark.metric, dict(zip((_FIRST, _SECOND), documents, strict=True))
    )
    drawn = resample_scores(aligned)
    better = 1 if benchmark.higher_is_better else -1
    interval = percentile_interval(better * (drawn[_FIRST] - drawn[_SECOND]))
    assert interval is not None
    scores = (records[0].value, records[1].value)
    both = side_by_side(*documents)
    ahead = better * (both["score_first"] - both["score_second"])
    counted = _ahead(aligned)
    return BenchmarkDifference(
        benchmark=benchmark.name,
        metric=benchmark.metric,
        n=len(both),
        items=_items(aligned)[1],
        higher_is_better=benchmark.higher_is_better,
        scores=scores,
        difference=better * (scores[0] - scores[1]),
        low=interval.low,
        high=interval.high,
        p_value=swapping(aligned) if counted is None else mcnemar(counted),
        test=SWAPPED if counted is None else MCNEMAR,
        wins=(int((ahead > 0).sum()), int((ahead < 0).sum())),
        documents=(_furthest(both, ahead, most), _furthest(both, -ahead, most)),
    )


def mcnemar(ahead: Iterable[int]) -> float:
    """The two-sided p-value of McNemar's exact test, or of its like for items of several documents.

    It is the share of all 2^items ways of swapping the two sides, item by item, in which they are at least
    as far apart as they were measured.

    Args:
        ahead: of each item, how many more of its documents the first got right than the second.
    """
    listed = [int(lead) for lead in ahead]
    counts = Counter(abs(lead) for lead in listed if lead)
    # The first's share of all that sets the two apart is a sum of tosses, those of items that count double
    # among them.
    chances: Draws = np.ones(1)
    for size, count in sorted(counts.items()):
        spaced = np.zeros(size * count + 1)
        spaced[::size] = _tosses(count)
        chances = np.convolve(chances, spaced).astype(np.float64)
    apart = np.abs(2 * np.arange(len(chances)) - (len(chances) - 1))
    return min(1.0, float(chances[apart >= abs(sum(listed))].sum()))


def _tosses(count: int) -> Draws:
    """The chances of 0, 1, … heads of so many tosses of a fair coin."""
    from scipy.special import gammaln

    heads = np.arange(count + 1)
    logarithms = gammaln(count + 1) - gammaln(heads + 1) - gammaln(count - heads + 1) - count * np.log(2)
    chances: Draws = np.exp(logarithms)
    return chances


def swapping(documents: DocumentScores, *, swaps: int = SWAPS, seed: int = 0) -> float:
    """The two-sided p-value by swapping the two sides at random, item by item.

    It is the share of swaps, what was measured among them, in which the scores are at least as far apart as
    they were measured.

    Args:
        documents: of two checkpoints.
        swaps: how many to draw.
        seed: what they are drawn with.
    """
    items, number = _items(documents)
    measured, means, shifts = 0.0, {}, {}
    for task, scores in documents.scores.items():
        one, two = scores[_FIRST], scores[_SECOND]
        means[task] = [side.mean(axis=1, keepdims=True) for side in (one, two)]
        measured += _apart(documents.metric, *means[task])[0]
        of_items = [np.bincount(items[task], term, number) for term in (two - one) / one.shape[1]]
        shifts[task] = np.stack(of_items)
    moved = np.any([(shift != 0).any(axis=0) for shift in shifts.values()], axis=0)
    generator = generator_of(seed, documents.benchmark, "swaps")
    drawn = np.zeros(swaps)
    step = max(1, _ENTRIES_AT_ONCE // max(1, int(moved.sum())))
    for start in range(0, swaps, step):
        stop = min(start + step, swaps)
        swapped = generator.integers(0, 2, size=(int(moved.sum()), stop - start))
        for task, (first, second) in means.items():
            shift = shifts[task][:, moved] @ swapped
            drawn[start:stop] += _apart(documents.metric, first + shift, second - shift)
    # Sums in another order may differ in the last digits.
    as_far = np.abs(drawn) >= abs(measured) - 1e-12
    return float((1 + as_far.sum()) / (1 + swaps))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values corrected for their number: below 0.05 any of them is by chance 5 % of the time at most.

    Holm, "A Simple Sequentially Rejective Multiple Test Procedure" (Scandinavian Journal of Statistics 6,
    1979): the least is multiplied by their number, the next by one less, and none may be below one before it.
    """
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


def _apart(metric: str, first: Draws, second: Draws) -> Draws:
    return from_means(metric, first) - from_means(metric, second)


def _items(documents: DocumentScores) -> tuple[dict[str, NDArray[np.int64]], int]:
    """By lm-eval task the number of each document's item, and how many items there are."""
    return numbered({task: documents.items_of(task) for task in documents.scores})


def _ahead(documents: DocumentScores) -> NDArray[np.int64] | None:
    """By item, how many more documents the first got right, if that decides which score is higher."""
    of_tasks = list(documents.scores.values())
    right_or_wrong = all(np.isin(values, (0, 1)).all() for scores in of_tasks for values in scores.values())
    sizes = {values.shape[1] for scores in of_tasks for values in scores.values()}
    if documents.metric == MATTHEWS or not right_or_wrong or len(sizes) > 1:
        return None
    items, number = _items(documents)
    each = [
        np.bincount(items[task], scores[_FIRST][0] - scores[_SECOND][0], number)
        for task, scores in documents.scores.items()
    ]
    return np.rint(np.sum(each, axis=0)).astype(np.int64)


def _furthest(both: pd.DataFrame, ahead: pd.Series, most: int) -> tuple[DifferingDocument, ...]:
    """The documents on which one side is ahead, furthest first."""
    order = ahead[ahead > 0].sort_values(ascending=False, kind="stable").index[:most]
    return differing_documents(both.loc[order])
