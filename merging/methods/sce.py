"""SCE: select what the experts differ in, calculate weights from it, erase the minority's signs."""

from typing import ClassVar, Literal

import torch
from pydantic import Field

from merging.arithmetic import disjoint_mean, elected_sign, refuse_negative, sum_of_squares, weighted_sum
from merging.known_methods import register
from merging.method import Context, MergedBlock, Method, Scope
from merging.ranks import keep_ranks


@register("sce", paper="https://arxiv.org/abs/2408.07990")
class Sce(Method):
    """θ = θ₀ + Σ_t η_t τ̂_t / Σ_t η_t over the tasks with the elected sign, tensor by tensor.

    1. Select: τ̂_t keeps the ⌊K·d⌋ entries whose variance over the tasks is largest, of the d where it is not
       0, K being `density`.
    2. Calculate: η_t = w_t Σ τ̂_t² / Σ_t Σ τ̂_t²; the paper has no weights w_t.
    3. Erase: entries whose sign is not that of Σ_t τ̂_t (+ where it is 0) are left out.

    As the authors' code in mergekit has it, but for its equal η_t where Σ_t mean(τ̂_t²) is below 1e-6, which
    it is for most fine-tuned models.
    """

    density: float = Field(0.1, gt=0, le=1)
    """K; mergekit's `select_topk`, there 1, which keeps all."""
    variant: Literal["paper", "mergekit"] = "paper"
    """`mergekit` has equal η_t for tensors of small task vectors, as said above."""

    scope: ClassVar[Scope] = Scope.TENSOR

    def __call__(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> MergedBlock:
        """Return the merged delta of deltas (n_tasks, *shape)."""
        refuse_negative(weights, "sce")
        selected = deltas * self._mask(deltas) if self.density < 1 else deltas
        squares = torch.tensor([sum_of_squares(delta) for delta in selected], dtype=torch.float64)
        if self.variant == "mergekit" and squares.sum() < 1e-6 * selected[0].numel():
            squares = torch.ones_like(squares)
        shares = weights * (squares / squares.sum() if squares.any() else squares).to(weights)
        signs = elected_sign(weighted_sum(selected, torch.ones_like(weights)), undecided=1)
        return MergedBlock(disjoint_mean(selected, shares, signs, shares), list(selected))

    def _mask(self, deltas: torch.Tensor) -> torch.Tensor:
        """Return ones where the variance is among the largest, zeros elsewhere, in the shape of one delta."""
        variance = deltas.var(0, correction=0)
        count = int(int(variance.count_nonzero()) * self.density)
        return keep_ranks(variance.reshape(-1), 0, count).ne(0).float().reshape(variance.shape)
