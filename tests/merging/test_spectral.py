"""Singular values and vectors by the products of a matrix are as exact as LAPACK's in float32."""

import pytest
import torch

from merging import spectral
from merging.spectral import nearest_orthogonal, svd

LONG, SHORT, RANK = 768, 256, 64


def with_values(values, rows=LONG):
    """A matrix (rows, values) with given singular values, in float64."""
    generator = torch.Generator().manual_seed(0)
    shapes = (rows, len(values)), (len(values), len(values))
    left, right = (
        torch.linalg.qr(torch.randn(shape, generator=generator, dtype=torch.float64))[0] for shape in shapes
    )
    return (left * values) @ right


@pytest.fixture
def by_lapack(monkeypatch):
    """Matrices that LAPACK decomposed."""
    seen = []
    decompose = torch.linalg.svd
    monkeypatch.setattr(
        torch.linalg, "svd", lambda matrix, **how: (seen.append(matrix.shape), decompose(matrix, **how))[1]
    )
    return seen


def truncated(matrix, rank=RANK):
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    return (left[:, :rank] * values[:rank]) @ right[:rank]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("power", [0.1, 0.5, 0.8])
def test_values_that_fall_slowly_need_no_lapack(by_lapack, turned, power):
    exact = with_values(torch.arange(1, SHORT + 1, dtype=torch.float64) ** -power)
    exact = exact.t() if turned else exact
    left, values, right = svd(exact.float(), RANK)
    assert not by_lapack
    torch.testing.assert_close(values, torch.arange(1, RANK + 1).float() ** -power, rtol=0, atol=2e-6)
    torch.testing.assert_close(left.t() @ left, torch.eye(RANK), rtol=0, atol=3e-4)
    torch.testing.assert_close(right @ right.t(), torch.eye(RANK), rtol=0, atol=3e-4)
    error = ((left.double() * values) @ right.double() - truncated(exact)).norm() / exact.norm()
    assert error < 1e-4


@pytest.mark.parametrize(
    "values",
    [torch.logspace(0, -8, SHORT, dtype=torch.float64), (torch.arange(SHORT) < 16).double()],
    ids=["fall fast", "of an adapter"],
)
def test_small_values_are_lapacks(by_lapack, values):
    matrix = with_values(values).float()
    _, found, _ = svd(matrix, RANK)
    assert by_lapack == [matrix.shape]
    assert torch.equal(found, torch.linalg.svd(matrix, full_matrices=False)[1][:RANK])


@pytest.mark.parametrize("scale", [1e-23, 1e18])
def test_tiny_and_huge_numbers_keep_their_digits(by_lapack, scale):
    exact = with_values(torch.arange(1, SHORT + 1, dtype=torch.float64) ** -0.5) * scale
    _, values, _ = svd(exact.float(), RANK)
    assert not by_lapack
    torch.testing.assert_close(values / scale, torch.arange(1, RANK + 1).float() ** -0.5, rtol=0, atol=2e-6)


def test_all_values_of_nearly_square_and_small_matrices_are_lapacks(by_lapack):
    svd(with_values(torch.ones(SHORT, dtype=torch.float64), 2 * SHORT - 1).float())
    svd(torch.ones(300, 100), 10)
    svd(with_values(torch.ones(SHORT, dtype=torch.float64)), RANK)
    assert len(by_lapack) == 3


@pytest.mark.parametrize("turned", [False, True])
def test_all_values_of_a_long_matrix_need_no_lapack(by_lapack, turned):
    values = torch.linspace(1, 0.05, SHORT, dtype=torch.float64)
    exact = with_values(values)
    exact = exact.t() if turned else exact
    left, found, right = svd(exact.float())
    assert not by_lapack
    torch.testing.assert_close(found, values.float(), rtol=1e-4, atol=0)
    assert ((left.double() * found) @ right.double() - exact).norm() / exact.norm() < 1e-4
    exact_left, _, exact_right = torch.linalg.svd(exact, full_matrices=False)
    isotropic = exact_left @ exact_right
    assert (left @ right - isotropic).norm() / isotropic.norm() < 1e-4


def test_a_tall_matrix_near_an_orthogonal_one_needs_no_lapack(by_lapack):
    values = torch.linspace(0.5, 1.5, SHORT, dtype=torch.float64)
    exact = with_values(values)
    found = nearest_orthogonal(exact.float())
    assert not by_lapack
    left, _, right = torch.linalg.svd(exact, full_matrices=False)
    torch.testing.assert_close(found.double(), left @ right, rtol=0, atol=1e-5)


def test_what_lapack_cannot_decompose_in_float32_it_does_in_float64(monkeypatch):
    decompose = torch.linalg.svd

    def stubborn(matrix, **how):
        if matrix.dtype == torch.float32:
            raise torch.linalg.LinAlgError("failed to converge")
        return decompose(matrix, **how)

    matrix = torch.arange(12.0).reshape(4, 3)
    expected = [part.float() for part in decompose(matrix.double(), full_matrices=False)]
    monkeypatch.setattr(torch.linalg, "svd", stubborn)
    assert all(torch.equal(one, other) for one, other in zip(svd(matrix), expected, strict=True))
    assert torch.equal(nearest_orthogonal(matrix), expected[0] @ expected[2])


def test_a_zero_matrix_has_no_directions():
    left, values, right = svd(torch.zeros(LONG, SHORT), RANK)
    assert not values.any()
    kept = spectral.above_rounding((left, values, right), values[0])
    assert [part.numel() for part in kept] == [0, 0, 0]
