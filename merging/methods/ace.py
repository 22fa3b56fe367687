"""ACE-Merging: a weighted mean of task vectors by the covariance of inputs that they let guess."""

import torch
from pydantic import Field

from merging.cost import Cost
from merging.known_methods import register
from merging.matrix_method import ONE_MATRIX, MatrixMethod
from merging.method import Context
from merging.spectral import relatively_weighted, svd

_SMALLEST = 1e-12


@register("ace", paper="https://arxiv.org/abs/2603.02945")
class Ace(MatrixMethod):
    """Δ = (Σ_t τ̄_t S_t)(Σ_t S_t + 1 c')⁻¹ with S_t = τ̄_t' τ̄_t + ε I, in place of the covariance of inputs.

    τ̄_t is τ_t less the mean of its rows, and c the mean of the rows of Σ_t τ̄_t' τ̄_t. Where the tasks are
    unlike, which is where the variance of log ‖τ_t‖² over the square of their mean is above 0.3,

    1. τ̄_t' τ̄_t and ε are divided by ‖τ̄_t‖², and c by the mean of ‖τ_t‖²;
    2. σ̄ U_k V_k' is added, with σ̄ the mean of the ⌊κ r⌋ largest singular values of
       Δ + Σ_t τ_t (τ̄_t' τ̄_t − Σ_k S_k / T) and U_k, V_k their vectors.

    As the authors' code has it, by which the mean of a matrix's rows stays the base's but for what 2. adds.
    ε is in the square of the weights' unit: where ‖τ_t‖² is far below it, this is the mean of the τ̄_t. Of
    each matrix of a transformer block, in float64; other tensors get their mean. Weights w_t count
    relatively: τ_t is scaled by T w_t / Σ w.
    """

    ridge: float = Field(1e-2, gt=0)
    """ε."""
    unlike: float = 0.3
    """From which ratio on the tasks count as unlike."""
    share: float = Field(0.3, ge=0, le=1)
    """κ."""

    @property
    def cost(self) -> Cost:
        """Beside the tensors, products of their columns."""
        return Cost(held=f"{ONE_MATRIX}, and square matrices of its columns, in float64")

    def of_matrix(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> torch.Tensor:
        """Return the merged delta of deltas (n_tasks, rows, columns)."""
        own = relatively_weighted(deltas, weights, "ace").double()
        squares = own.square().sum((1, 2))
        unlike = self._are_unlike(squares)
        together = torch.zeros((context.shape[1],) * 2, dtype=own.dtype, device=own.device)
        common, weighted = torch.zeros_like(together[:1]), torch.zeros_like(own[0])
        for matrix in _centred(own):
            guess, ridge = self._covariance(matrix, unlike)
            common += guess.mean(0, keepdim=True)
            together += guess
            together.diagonal().add_(ridge)
            weighted += matrix @ guess + ridge * matrix
        if unlike:
            common /= squares.mean() + _SMALLEST
        merged = torch.linalg.solve(together + common, weighted, left=False)
        if unlike:
            merged = merged + self._strongest(merged, own, together / len(own))
        return merged.to(deltas.dtype)

    def _covariance(self, matrix: torch.Tensor, unlike: bool) -> tuple[torch.Tensor, float]:
        """Return τ̄' τ̄ and ε, divided by ‖τ̄‖² where the tasks are unlike."""
        guess = matrix.t() @ matrix
        trace = float(guess.trace()) + _SMALLEST
        return (guess / trace, self.ridge / trace) if unlike else (guess, self.ridge)

    def _strongest(self, merged: torch.Tensor, own: torch.Tensor, middle: torch.Tensor) -> torch.Tensor:
        """Return σ̄ U_k V_k' of Δ and what the tasks' covariances have beside their mean."""
        whole = merged.clone()
        for matrix, centred in zip(own, _centred(own), strict=True):
            whole += matrix @ (self._covariance(centred, unlike=True)[0] - middle)
        left, values, right = svd(whole)
        kept = int(len(values) * self.share)
        return values[:kept].sum() / max(kept, 1) * left[:, :kept] @ right[:kept]

    def _are_unlike(self, squares: torch.Tensor) -> bool:
        logs = torch.log(squares + _SMALLEST)
        return len(logs) > 1 and float(logs.var() / (logs.mean().square() + _SMALLEST)) > self.unlike


def _centred(own: torch.Tensor) -> torch.Tensor:
    """Return matrices (n_tasks, rows, columns) less the mean of their rows."""
    return own - own.mean(1, keepdim=True)
