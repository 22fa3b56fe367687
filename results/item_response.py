"""Item-response models: how likely a model answers a document right, by its abilities and the document.

The two-parameter logistic model in several dimensions is P(right) = σ(α_i · θ − β_i), in which θ are the
abilities of a model, and α_i and β_i the slopes and the difficulty of a document. By it the score on all
documents is estimated from the answers to some, as in tinyBenchmarks (https://arxiv.org/abs/2402.14992) and,
of merged models, in MERGE³ (https://arxiv.org/abs/2502.10436). Few models answered all documents, so all
numbers have normal distributions beforehand, and the most probable ones are taken.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

Array = NDArray[np.float64]
DIFFICULTY_DEVIATION = 2.0
"""Standard deviation of difficulties beforehand; of slopes, of abilities and of λ it is 1."""


@dataclass(frozen=True)
class ItemResponse:
    """A fitted model.

    Attributes:
        slopes: α, shape (documents, dimensions).
        difficulties: β, shape (documents,).
        abilities: θ of the models that it was fitted to, shape (models, dimensions).
    """

    slopes: Array
    difficulties: Array
    abilities: Array

    def probabilities(self, ability: Array) -> Array:
        """Return how likely each document is answered right, shape (documents,)."""
        return expit(self.slopes @ ability - self.difficulties)

    def ability(self, answers: Array, seen: NDArray[np.bool_]) -> Array:
        """Return the abilities of a model by some of its answers, as p-IRT has them.

        Args:
            answers: from 0 to 1, shape (documents seen,).
            seen: which documents they are of, shape (documents,).
        """
        dimensions = self.slopes.shape[1]
        return _most_probable(self.slopes[seen], self.difficulties[seen], answers, np.zeros(dimensions))

    def merged_ability(self, answers: Array, seen: NDArray[np.bool_]) -> Array:
        """Return the abilities of a merge of all models by some of its answers: Σ_j λ_j θ_j, as in mp-IRT.

        The λ are the most probable ones; beforehand each is 1 / models, ± 1.

        Args:
            answers: from 0 to 1, shape (documents seen,).
            seen: which documents they are of, shape (documents,).
        """
        models = len(self.abilities)
        of_models = self.slopes[seen] @ self.abilities.T
        return self.abilities.T @ _most_probable(
            of_models, self.difficulties[seen], answers, np.full(models, 1 / models)
        )


def fitted(answers: Array, dimensions: int) -> ItemResponse:
    """Fit a model to the answers of several models to all documents.

    Args:
        answers: from 0 to 1, shape (models, documents).
        dimensions: of abilities; no more than there are models.
    """
    models, documents = answers.shape
    ends = np.cumsum([models * dimensions, documents * dimensions])

    def parts(numbers: Array) -> tuple[Array, Array, Array]:
        abilities, slopes, difficulties = np.split(numbers, ends)
        return abilities.reshape(models, -1), slopes.reshape(documents, -1), difficulties

    def loss(numbers: Array) -> tuple[float, Array]:
        abilities, slopes, difficulties = parts(numbers)
        value, errors = _surprise(abilities @ slopes.T - difficulties, answers)
        spread = difficulties / DIFFICULTY_DEVIATION**2
        value += 0.5 * ((abilities**2).sum() + (slopes**2).sum() + difficulties @ spread)
        slope = (errors @ slopes + abilities, errors.T @ abilities + slopes, spread - errors.sum(axis=0))
        return value, np.concatenate([of.ravel() for of in slope])

    # From the directions in which the models differ most, since of slopes that are all 0 nothing moves.
    left, sizes, right = np.linalg.svd(answers - answers.mean(axis=0), full_matrices=False)
    root = np.sqrt(sizes[:dimensions])
    start = np.concatenate(
        [(left[:, :dimensions] * root).ravel(), (right[:dimensions].T * root).ravel(), np.zeros(documents)]
    )
    abilities, slopes, difficulties = parts(_least(loss, start))
    return ItemResponse(slopes, difficulties, abilities)


def _most_probable(features: Array, difficulties: Array, answers: Array, beforehand: Array) -> Array:
    """The most probable x of P(right) = σ(features · x − difficulties), which is beforehand ± 1."""

    def loss(x: Array) -> tuple[float, Array]:
        value, errors = _surprise(features @ x - difficulties, answers)
        away = x - beforehand
        return value + 0.5 * float(away @ away), errors @ features + away

    return _least(loss, beforehand)


def _surprise(logits: Array, answers: Array) -> tuple[float, Array]:
    """−Σ y log p + (1 − y) log(1 − p), and its slope by the logits."""
    return float((np.logaddexp(0, logits) - answers * logits).sum()), expit(logits) - answers


def _least(loss: Callable[[Array], tuple[float, Array]], start: Array) -> Array:
    options = {"maxiter": 5000, "maxfun": 50000, "ftol": 1e-12, "gtol": 1e-6}
    return np.asarray(minimize(loss, start, jac=True, method="L-BFGS-B", options=options).x)
