"""Scores of candidates on all validation documents, estimated from their answers to a part of them.

The base and the experts, of which all candidates are merges, have answered all documents. To each benchmark's
answers an item-response model is fitted, by which a candidate's answers to the part say how likely it is to
answer the others right. The estimators are those of MERGE³ (https://arxiv.org/abs/2502.10436) and of
tinyBenchmarks (https://arxiv.org/abs/2402.14992):

    mp-irt    the answers, and of all other documents the likelihoods, of abilities Σ_j λ_j θ_j
    p-irt     the same of abilities of the candidate's own
    gmp-irt, gp-irt   the mean of these and of the score on the part alone
    part      the score on the part alone

Likelihoods stand in the table of documents in place of scores, so tasks and languages count in an estimate as
they do in a score.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bench.scored_checkpoint import ScoredCheckpoint
from bench.validation_parts import Kept, ValidationParts
from results.aggregation import aggregate, document_columns
from results.errors import InputError
from results.item_response import ItemResponse, fitted
from results.store import DOCUMENT_KEY

ESTIMATORS = ("part", "p-irt", "gp-irt", "mp-irt", "gmp-irt")
_OF_MERGES = ("mp-irt", "gmp-irt")
_WITH_PART = ("gp-irt", "gmp-irt")


@dataclass(frozen=True)
class _Benchmark:
    """What is known of a benchmark: its metric, its documents, and how they are answered."""

    metric: str
    documents: pd.DataFrame
    model: ItemResponse


class Estimates:
    """Estimates candidates' scores.

    Args:
        parts: the validation documents, of which candidates are asked the first part.
        endpoints: the base and the experts, which are scored on all parts, or found scored.
        dimensions: of abilities.

    Attributes:
        documents: how many the endpoints were scored on.

    Raises:
        InputError: a benchmark's score is no mean of numbers from 0 to 1.
    """

    def __init__(
        self, parts: ValidationParts, endpoints: Sequence[ScoredCheckpoint], dimensions: int
    ) -> None:
        self._parts, self.documents = parts, 0
        answered: list[dict[str, list[str]]] = []
        for endpoint in endpoints:
            answered.append({})
            for part in range(parts.parts):
                for name, score in parts.score(endpoint, part).items():
                    answered[-1].setdefault(name, []).append(score.kept)
                    self.documents += score.documents
        self._benchmarks = {
            benchmark.name: self._fitted(benchmark.name, benchmark.metric, answered, dimensions)
            for benchmarks in parts.spec.tasks.values()
            for benchmark in benchmarks
        }

    def values(self, kept: Kept, estimator: str) -> dict[str, float]:
        """Return by benchmark the score that is expected on all documents.

        Args:
            kept: what was kept of the first part.
            estimator: one of `ESTIMATORS`.
        """
        on_part = self._parts.values(kept)
        if estimator == "part":
            return on_part
        completed = {
            name: aggregate(of.metric, self._completed(name, of, kept, merged=estimator in _OF_MERGES))
            for name, of in self._benchmarks.items()
        }
        if estimator in _WITH_PART:
            return {name: (value + on_part[name]) / 2 for name, value in completed.items()}
        return completed

    def _fitted(self, name: str, metric: str, answered: Sequence[Kept], dimensions: int) -> _Benchmark:
        if document_columns(metric) != ("score",):
            raise InputError(
                f"`estimate` needs a score for each document, and {name} is measured by {metric} on "
                "validation data: leave out `estimate`, or that task."
            )
        tables = [self._parts.documents(name, kept[name]).set_index(list(DOCUMENT_KEY)) for kept in answered]
        documents = tables[0].drop(columns="score")
        answers = np.array([table["score"].reindex(documents.index) for table in tables], dtype=np.float64)
        if not (answers.min() >= 0 and answers.max() <= 1):
            raise InputError(
                f"`estimate` takes scores of documents from 0 to 1, and those of {name} go from "
                f"{answers.min():g} to {answers.max():g}: leave out `estimate`, or that task."
            )
        return _Benchmark(metric, documents, fitted(answers, min(dimensions, len(answers))))

    def _completed(self, name: str, of: _Benchmark, kept: Kept, *, merged: bool) -> pd.DataFrame:
        """All documents with their scores; of those that were not asked, with the likelihoods."""
        answered = self._parts.documents(name, kept[name]).set_index(list(DOCUMENT_KEY))["score"]
        scores = answered.reindex(of.documents.index).to_numpy(dtype=np.float64)
        seen = ~np.isnan(scores)
        ability = (of.model.merged_ability if merged else of.model.ability)(scores[seen], seen)
        expected = np.where(seen, scores, of.model.probabilities(ability))
        return of.documents.assign(score=expected).reset_index()
