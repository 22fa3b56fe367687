"""MAP's surrogate: each objective as a quadratic function of a merge's coefficients, and the front of these.

MAP (https://arxiv.org/abs/2406.07529) takes a metric as M(c) ≈ e + bᵀc + ½ cᵀAc over the coefficients c of
θ = θ₀ + Σ_t c_t τ_t, fits e, b and A by least squares to candidates drawn at random, and looks for the Pareto
front of the fitted functions, which costs no merge.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from manyshot.search.space import Range, Space
from results.search_report import SurrogateFit

Array = NDArray[np.float64]
_POINTS, _ROUNDS = 256, 10
"""Points of the search for the front, and how often it narrows."""


def number_of_terms(variables: int) -> int:
    """Return how many numbers a quadratic function of some variables has."""
    return (variables + 1) * (variables + 2) // 2


class Coordinates:
    """The numbers of a space as points of the unit cube, and as what the quadratic is a function of.

    These are the coefficients c_t = scaling · weight_t where the space has weights (and then not the scaling
    by itself), and all other numbers as they lie in the cube, those with `log` by their logarithm.

    Args:
        space: all of whose candidates are numbers.
        tasks: whose experts are merged.
    """

    def __init__(self, space: Space, tasks: Sequence[str]) -> None:
        self._ranges = space.numeric(tasks) or {}
        self._weights = space.weights_of(tasks)
        self._scaling = f"{space.methods[0].title}.scaling"
        used = {f"weights.{task}" for task in self._weights} | ({self._scaling} if self._weights else set())
        self._names = list(self._ranges)
        self._others = [place for place, name in enumerate(self._names) if name not in used]

    @property
    def variables(self) -> int:
        """How many variables the quadratic has."""
        return len(self._weights) + len(self._others)

    @property
    def numbers(self) -> int:
        """The cube's dimensions."""
        return len(self._names)

    def point(self, params: Mapping[str, float]) -> Array:
        """Return a candidate's point of the cube, shape (numbers,)."""
        point = []
        for name, one in self._ranges.items():
            low, high, value = (np.log(of) if one.log else of for of in (one.low, one.high, params[name]))
            point.append((value - low) / (high - low))
        return np.array(point)

    def params(self, point: Array) -> dict[str, float]:
        """Return the numbers of a point of the cube, by name."""
        values = self._values(point[None])[0]
        return {
            name: round(value) if one.integer else float(np.clip(value, one.low, one.high))
            for (name, one), value in zip(self._ranges.items(), values, strict=True)
        }

    def of_quadratic(self, points: Array) -> Array:
        """Return the variables of points, shape (points, variables)."""
        others = points[:, self._others]
        if not self._weights:
            return others
        values = dict(zip(self._names, self._values(points).T, strict=True))
        columns = [
            values[f"weights.{task}"] if isinstance(of, Range) else np.full(len(points), of)
            for task, of in self._weights.items()
        ]
        weights = np.stack(columns, axis=1)
        mean = weights.mean(axis=1, keepdims=True)
        weights = np.where(mean > 0, weights / np.where(mean > 0, mean, 1.0), 1.0)
        return np.hstack([weights * values.get(self._scaling, np.ones(len(points)))[:, None], others])

    def _values(self, points: Array) -> Array:
        """Numbers as the space has them, shape (points, numbers)."""
        columns = []
        for place, one in enumerate(self._ranges.values()):
            low, high = (np.log(one.low), np.log(one.high)) if one.log else (one.low, one.high)
            column = low + points[:, place] * (high - low)
            columns.append(np.exp(column) if one.log else column)
        return np.stack(columns, axis=1)


@dataclass(frozen=True)
class Surrogate:
    """Quadratic functions that were fitted to candidates.

    Attributes:
        coordinates: of the space.
        terms: e, b and ½A of each objective, shape (terms, objectives).
        fits: how well each objective's function fits.
    """

    coordinates: Coordinates
    terms: Array
    fits: tuple[SurrogateFit, ...]

    def __call__(self, points: Array) -> Array:
        """Return the objectives that are expected at points of the cube, shape (points, objectives)."""
        return _features(self.coordinates.of_quadratic(points)) @ self.terms

    def front(self, seed: int) -> Array:
        """Return points of the cube that no other found is better than in all objectives.

        Points at random, of which the front is kept and varied, each time less widely.

        Args:
            seed: of the random numbers.
        """
        generator = np.random.default_rng(seed)
        points = generator.random((2 * _POINTS, self.coordinates.numbers))
        for width in np.geomspace(0.3, 0.003, _ROUNDS):
            points = points[_undominated(self(points))]
            ends = np.argmax(self(points), axis=0)  # which no thinning may lose
            points = points[np.concatenate([ends, generator.permutation(len(points))])[:_POINTS]]
            varied = points[generator.integers(len(points), size=_POINTS)]
            varied = varied + width * generator.standard_normal(varied.shape)
            points = np.vstack([points, np.clip(varied, 0, 1)])
        return points[_undominated(self(points))]

    def next_point(self, tried: Array, seed: int) -> Array:
        """Return the point of the front that lies farthest from all that was tried.

        How far is by the objectives that are expected at both, each divided by its range over the front: so
        the points that are tried one after the other spread over the front.

        Args:
            tried: points of the cube, shape (points, numbers).
            seed: of the search for the front.
        """
        points = self.front(seed)
        expected = self(points)
        extent = np.ptp(expected, axis=0)
        scale = np.where(extent > 0, extent, 1.0)
        apart = (expected[:, None] - self(tried)[None]) / scale
        return points[int(np.argmax(np.min((apart**2).sum(axis=2), axis=1)))]


def fitted(coordinates: Coordinates, points: Array, values: Array) -> Surrogate:
    """Fit a quadratic function to each objective by least squares.

    Args:
        coordinates: of the space.
        points: of the candidates, shape (candidates, numbers).
        values: theirs, shape (candidates, objectives).
    """
    features = _features(coordinates.of_quadratic(points))
    inverse = np.linalg.pinv(features)
    terms = inverse @ values
    errors = values - features @ terms
    # What a candidate's error would be of a fit without it.
    left = 1 - np.einsum("ij,ji->i", features, inverse)
    without = errors / left[:, None] if np.all(left > 1e-6) else None
    total = ((values - values.mean(axis=0)) ** 2).sum(axis=0)

    def share(of: Array | None, objective: int) -> float | None:
        if of is None or total[objective] <= 0:
            return None
        return float(1 - (of[:, objective] ** 2).sum() / total[objective])

    fits = tuple(
        SurrogateFit(r_squared=share(errors, place), r_squared_left_out=share(without, place))
        for place in range(values.shape[1])
    )
    return Surrogate(coordinates, terms, fits)


def _features(variables: Array) -> Array:
    """1, v_i and v_i v_j for i ≤ j, shape (points, terms)."""
    first, second = np.triu_indices(variables.shape[1])
    return np.hstack([np.ones((len(variables), 1)), variables, variables[:, first] * variables[:, second]])


def _undominated(values: Array) -> NDArray[np.bool_]:
    """Which rows no other is at least as good as everywhere, and better somewhere."""
    at_least = np.all(values[:, None] >= values[None], axis=2)
    better = np.any(values[:, None] > values[None], axis=2)
    return ~np.any(at_least & better, axis=0)
