"""What the methods share that work on singular values and vectors of weight matrices."""

import torch

from merging.arithmetic import normalised, weighted_sum

Decomposition = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""U (m, r), singular values (r,) and V' (r, n)."""
NEGLIGIBLE = 1e-5
"""Share of the largest singular value up to which one is rounding, such as those beyond an adapter's rank."""
_LARGE = 256
"""Smaller side of a matrix from which products are faster than a singular value decomposition."""
_EXACT_ENOUGH = 1 / 32
"""Share of the largest singular value from which M'M in float32 gives one exactly enough."""


def mean(deltas: torch.Tensor, weights: torch.Tensor, method: str) -> torch.Tensor:
    """Return Σ_t w_t τ_t / Σ_t w_t of deltas (n_tasks, *shape)."""
    return weighted_sum(deltas, normalised(weights, f"'{method}'"))


def relatively_weighted(deltas: torch.Tensor, weights: torch.Tensor, method: str) -> torch.Tensor:
    """Return u_t τ_t with u_t = T w_t / Σ w, which is 1 for equal weights, in the shape of the deltas."""
    relative = normalised(weights, f"'{method}'") * len(weights)
    return deltas * relative.reshape(-1, *[1] * (deltas.dim() - 1))


def svd(matrix: torch.Tensor, rank: int | None = None) -> Decomposition:
    """Return U (m, r), the singular values (r,) from the largest on, and V' (r, n), up to a rank.

    Of large matrices in float32, of which at most half is wanted or which are twice as long as wide, they are
    found by the eigenvectors of M'M where none is below 1/32 of the largest, to 1e-4 or better; else LAPACK
    finds them.
    """
    short, long = sorted(matrix.shape)
    wanted = short if rank is None else min(rank, short)
    found = _by_products(matrix, wanted) if 2 * wanted <= short or 2 * short <= long else None
    left, values, right = found or _by_lapack(matrix)
    return left[:, :wanted], values[:wanted], right[:wanted]


def _by_lapack(matrix: torch.Tensor) -> Decomposition:
    """Return all singular values and vectors; in float64 where LAPACK does not converge in float32."""
    try:
        return tuple(torch.linalg.svd(matrix, full_matrices=False))
    except torch.linalg.LinAlgError:
        left, values, right = torch.linalg.svd(matrix.double(), full_matrices=False)
        return left.to(matrix.dtype), values.to(matrix.dtype), right.to(matrix.dtype)


def _by_products(matrix: torch.Tensor, rank: int) -> Decomposition | None:
    """Return the largest singular values and vectors by the eigenvectors of M'M, or of M M' if it is smaller.

    The error of a value grows with the square of the largest over it, so None stands for a matrix that has
    much smaller ones, and for one that is small or not in float32.
    """
    if matrix.dtype != torch.float32 or min(matrix.shape) < _LARGE or not rank:
        return None
    is_wide = matrix.shape[0] < matrix.shape[1]
    largest = matrix.abs().max()
    if not 0 < largest < torch.inf:
        return None
    tall = (matrix.t() if is_wide else matrix) / largest  # whose squares neither vanish nor overflow
    try:
        right = torch.linalg.eigh(tall.t() @ tall)[1][:, -rank:].flip(1)
    except torch.linalg.LinAlgError:
        return None
    scaled = tall @ right
    values = scaled.norm(dim=0)
    if values[-1] <= _EXACT_ENOUGH * values[0]:
        return None
    left, values = scaled / values, values * largest
    return (right, values, left.t()) if is_wide else (left, values, right.t())


def above_rounding(parts: Decomposition, largest: torch.Tensor) -> Decomposition:
    """Return a decomposition without the singular values that are rounding beside the largest one."""
    kept = int((parts[1] > NEGLIGIBLE * largest).sum())
    return parts[0][:, :kept], parts[1][:kept], parts[2][:kept]


def shared_directions(matrices: torch.Tensor) -> torch.Tensor:
    """Return the left singular vectors (m, r) of several matrices side by side, without those of rounding.

    Args:
        matrices: (n, m, k).

    Returns:
        The eigenvectors of Σ M M', found in float64, the largest last.
    """
    products = sum((wide @ wide.t() for wide in map(torch.Tensor.double, matrices)), matrices.new_zeros(()))
    squares, vectors = torch.linalg.eigh(products)
    return vectors[:, squares > NEGLIGIBLE**2 * squares[-1]].to(matrices.dtype)


def nearest_orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """Return P Q' of the matrix's singular value decomposition P D Q', the polar factor."""
    left, _, right = svd(matrix)
    return left @ right


def joined(parts: list[Decomposition]) -> Decomposition:
    """Return several decompositions side by side, with U and V' made orthogonal."""
    left = torch.cat([part[0] for part in parts], dim=1)
    right = torch.cat([part[2] for part in parts], dim=0)
    return nearest_orthogonal(left), torch.cat([part[1] for part in parts]), nearest_orthogonal(right)
