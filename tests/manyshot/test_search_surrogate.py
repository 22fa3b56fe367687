"""MAP's surrogate finds the quadratics that data were made of, and their front, by closed forms."""

import numpy as np
import pytest
from searched_family import BENCHMARKS, made, written

from manyshot.run import RunContext
from manyshot.search.file import SearchSettings, load_search
from manyshot.search.run import run_search
from manyshot.search.space import Known, Space
from manyshot.search.surrogate import Coordinates, fitted, number_of_terms
from manyshot.search.trials import Outcome, Trials
from results.store import Store
from results.validation import validated

TASKS = ("math", "safety")
TIES = {"name": "ties", "density": {"low": 0.0, "high": 1.0}, "scaling": {"low": 1.0, "high": 2.0}}
BOTH = {"low": 0.0, "high": 1.0}


def space_of(scaling=None, weights=None, **settings):
    method = {"name": "task_arithmetic", **({"scaling": scaling} if scaling else {}), **settings}
    return validated(Space, {"methods": [method], "weights": weights}, "the test")


SPACE = space_of({"low": 0.1, "high": 2.0}, {"low": 0.0, "high": 2.0})


def test_a_quadratic_function_is_found_exactly():
    coordinates = Coordinates(SPACE, TASKS)
    assert (coordinates.variables, number_of_terms(coordinates.variables)) == (2, 6)
    points = np.random.default_rng(0).random((7, coordinates.numbers))
    c = coordinates.of_quadratic(points)
    hessian, gradient = np.array([[-2.0, 0.3], [0.3, -1.0]]), np.array([0.5, 1.0])
    values = 0.2 + c @ gradient + 0.5 * np.einsum("ni,ij,nj->n", c, hessian, c)
    surrogate = fitted(coordinates, points, values[:, None])
    expected = [0.2, 0.5, 1.0, -1.0, 0.3, -0.5]  # e, b, and ½ A with its two equal entries added
    assert surrogate.terms[:, 0] == pytest.approx(expected)
    assert surrogate.fits[0].r_squared == pytest.approx(1)
    assert surrogate.fits[0].r_squared_left_out == pytest.approx(1)


def test_what_each_candidate_is_by_the_others_is_a_fit_without_it():
    coordinates = Coordinates(space_of({"low": 0.0, "high": 1.0}), TASKS)
    generator = np.random.default_rng(1)
    points, values = generator.random((8, 1)), generator.random((8, 1))
    fit = fitted(coordinates, points, values).fits[0]
    total = ((values - values.mean()) ** 2).sum()
    polynomial = np.polynomial.polynomial.Polynomial
    whole = polynomial.fit(points[:, 0], values[:, 0], 2)
    assert fit.r_squared == pytest.approx(1 - ((values[:, 0] - whole(points[:, 0])) ** 2).sum() / total)
    missed = 0.0
    for left in range(8):
        kept = np.arange(8) != left
        without = polynomial.fit(points[kept, 0], values[kept, 0], 2)
        missed += (values[left, 0] - without(points[left, 0])) ** 2
    assert fit.r_squared_left_out == pytest.approx(1 - missed / total)


def test_variables_are_scaling_times_weight_as_a_merge_has_them():
    coordinates = Coordinates(SPACE, TASKS)
    for point in np.random.default_rng(2).random((5, 3)):
        params = coordinates.params(point)
        assert coordinates.point(params) == pytest.approx(point)
        candidate = SPACE.candidate(Known(params), TASKS)
        expected = [candidate.settings["scaling"] * candidate.weights[task] for task in TASKS]
        assert coordinates.of_quadratic(point[None])[0] == pytest.approx(expected)


def test_numbers_by_their_logarithm_and_whole_numbers():
    range_of = {"low": 0.01, "high": 1.0, "log": True}
    coordinates = Coordinates(space_of(range_of, {"math": 1.0, "safety": BOTH}), TASKS)
    params = coordinates.params(np.array([0.5, 0.25]))
    assert params == pytest.approx({"task_arithmetic.scaling": 0.1, "weights.safety": 0.25})
    assert coordinates.of_quadratic(np.array([[0.5, 0.25]]))[0] == pytest.approx([0.16, 0.04])
    whole = {"low": 1, "high": 5, "integer": True}
    ties = {"name": "ties", "density": {"low": 0.1, "high": 0.9}, "scaling": whole}
    coordinates = Coordinates(validated(Space, {"methods": [ties]}, "the test"), TASKS)
    assert coordinates.params(np.array([0.5, 0.6])) == {"ties.density": 0.5, "ties.scaling": 3}
    assert coordinates.of_quadratic(np.array([[0.5, 0.6]]))[0] == pytest.approx([0.5, 0.6])


def two_hills(x):
    """−|x − a|² and −|x − b|²: the front is the straight line from a to b."""
    a, b = np.array([0.2, 0.3]), np.array([0.8, 0.6])
    return np.stack([-((x - a) ** 2).sum(axis=1), -((x - b) ** 2).sum(axis=1)], axis=1), a, b


def test_the_front_of_two_hills_is_the_line_between_their_tops():
    coordinates = Coordinates(validated(Space, {"methods": [TIES]}, "the test"), TASKS)
    points = np.random.default_rng(3).random((20, 2))
    values, a, b = two_hills(points)
    surrogate = fitted(coordinates, points, values)
    front = surrogate.front(0)
    along = (front - a) @ (b - a) / ((b - a) @ (b - a))
    across = (front - a) @ np.array([-(b - a)[1], (b - a)[0]]) / np.linalg.norm(b - a)
    assert np.abs(across).max() < 0.05
    assert along.min() < 0.1 and along.max() > 0.9
    assert np.diff(np.sort(along)).max() < 0.1
    assert np.array_equal(front, surrogate.front(0))
    ends = points[:1]
    for _ in range(6):
        ends = np.vstack([ends, surrogate.next_point(ends, 0)])
    tried = np.sort((ends[1:] - a) @ (b - a) / ((b - a) @ (b - a)))
    assert tried[0] < 0.1 and tried[-1] > 0.9 and np.diff(tried).max() < 0.4


def test_after_the_samples_candidates_lie_on_the_front(tmp_path):
    content = {
        "space": {"methods": [TIES]},
        "objective": ["math", "safety"],
        "sampler": "map",
        "samples": 8,
        "batch": 2,
        "budget": {"evaluations": 14},
    }
    trials = Trials(tmp_path / "search.db", validated(SearchSettings, content, "the test"), TASKS, {})
    while len(trials.finished) < 14:
        for pending in trials.batch(14):
            x = np.array([[pending.params["ties.density"], pending.params["ties.scaling"] - 1]])
            values, a, b = two_hills(x)
            trials.finish(pending, Outcome(tuple(map(float, values[0]))))
            away = abs(float((x[0] - a) @ np.array([-(b - a)[1], (b - a)[0]]))) / np.linalg.norm(b - a)
            if pending.number >= 8:
                assert away < 0.05
    assert all(fit.r_squared == pytest.approx(1) for fit in trials.surrogate().fits)


@pytest.mark.slow
def test_a_search_by_map_says_how_well_its_surrogate_fits(tmp_path):
    folder = made(tmp_path)
    changes = {
        "space": {"methods": [{"name": "task_arithmetic", "scaling": {"low": 0.1, "high": 1.5}}]},
        "objective": list(BENCHMARKS), "sampler": "map", "samples": 4, "budget": {"evaluations": 6},
    }  # fmt: skip
    context = RunContext(Store(folder / "store"), folder / "out")
    finished = run_search(load_search(written(folder, **changes)), "search", context)
    assert set(finished.report.surrogate) == set(BENCHMARKS)
    assert all(0 <= fit.r_squared <= 1 for fit in finished.report.surrogate.values())
    assert "R² of the surrogate" in (folder / "out/table.md").read_text()
    again = run_search(load_search(written(folder, **changes)), "search", context)
    assert again.report == finished.report
