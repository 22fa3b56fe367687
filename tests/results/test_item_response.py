"""Item-response models give back what data were made of, and are the most probable ones by closed forms."""

import numpy as np
import pytest
from scipy.special import expit

from results.item_response import DIFFICULTY_DEVIATION, ItemResponse, fitted


def made(models, documents, dimensions, seed=0):
    generator = np.random.default_rng(seed)
    slopes = generator.normal(size=(documents, dimensions))
    return ItemResponse(slopes, generator.normal(size=documents), generator.normal(size=(models, dimensions)))


def answers_of(model, seed=1):
    expected = np.array([model.probabilities(ability) for ability in model.abilities])
    return np.random.default_rng(seed).binomial(1, expected).astype(float), expected


@pytest.mark.parametrize("dimensions", [1, 2])
def test_probabilities_that_answers_were_drawn_by_are_found(dimensions):
    answers, expected = answers_of(made(500, 40, dimensions))
    model = fitted(answers, dimensions)
    found = np.array([model.probabilities(ability) for ability in model.abilities])
    assert np.sqrt(((found - expected) ** 2).mean()) < 0.12
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.92
    assert found.mean(axis=0) == pytest.approx(answers.mean(axis=0), abs=0.02)


def test_a_fit_is_the_most_probable_one():
    """Where a sum of squares and a likelihood meet: θ = Σ (y − p) α, α = Σ (y − p) θ, β = −s² Σ (y − p)."""
    answers, _ = answers_of(made(5, 30, 2))
    model = fitted(answers, 2)
    left = answers - np.array([model.probabilities(ability) for ability in model.abilities])
    assert left @ model.slopes == pytest.approx(model.abilities, abs=1e-3)
    assert left.T @ model.abilities == pytest.approx(model.slopes, abs=1e-3)
    assert -(DIFFICULTY_DEVIATION**2) * left.sum(axis=0) == pytest.approx(model.difficulties, abs=1e-2)


def test_of_documents_that_all_got_right_or_wrong_the_difficulty_has_a_closed_form():
    """With no difference between models slopes are 0, and 5 σ(−b) = b / s² of b = ±β."""
    answers = np.repeat([[1.0, 0.0, 1.0]], 5, axis=0)
    model = fitted(answers, 1)
    b = model.difficulties[1]
    assert 5 * expit(-b) == pytest.approx(b / DIFFICULTY_DEVIATION**2, abs=1e-4)
    assert model.difficulties == pytest.approx([-b, b, -b], abs=1e-4)


def test_the_ability_of_a_merge_is_the_combination_that_it_was_made_of():
    """By many documents and the probabilities themselves as answers, what stood beforehand counts little."""
    model = made(2, 4000, 3)
    merged = 0.7 * model.abilities[0] - 0.4 * model.abilities[1]
    seen = np.arange(4000) < 3000
    expected = model.probabilities(merged)
    assert model.merged_ability(expected[seen], seen) == pytest.approx(merged, abs=0.01)
    outside = np.array([1.0, -1.0, 0.5])  # which no combination of two has, but p-IRT finds
    expected = model.probabilities(outside)
    assert model.ability(expected[seen], seen) == pytest.approx(outside, abs=0.01)
    off = model.merged_ability(expected[seen], seen) - outside
    assert np.linalg.norm(off) > 0.1


def test_lambda_is_the_most_probable_one():
    """Σ (y − p) α · θ_j = λ_j − 1 / models; with abilities that are the axes, the ability is λ itself."""
    model = made(3, 20, 3)
    model = ItemResponse(model.slopes, model.difficulties, np.eye(3))
    answers, seen = np.random.default_rng(2).integers(0, 2, 20).astype(float), np.ones(20, dtype=bool)
    found = model.merged_ability(answers, seen)
    left = answers - model.probabilities(found)
    assert left @ model.slopes == pytest.approx(found - 1 / 3, abs=1e-4)


def test_without_answers_a_merge_is_the_mean_of_its_models():
    model = made(4, 10, 2)
    seen = np.zeros(10, dtype=bool)
    assert model.merged_ability(np.zeros(0), seen) == pytest.approx(model.abilities.mean(axis=0))
    assert model.ability(np.zeros(0), seen) == pytest.approx([0, 0])
