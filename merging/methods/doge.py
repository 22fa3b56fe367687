"""DOGE: task vectors of one length, moved together off their conflicts, but not along what they share."""

from typing import Any

import torch
from pydantic import Field

from merging.arithmetic import weighted_sum
from merging.cost import Cost
from merging.descent import adam
from merging.geometry import norm
from merging.known_methods import register
from merging.matrix_method import MatrixMethod, is_matrix
from merging.method import Context, FirstPass, MergedBlock
from merging.spectral import above_rounding, relatively_weighted, svd
from merging.thresholds import Ranking


@register("doge", paper="https://arxiv.org/abs/2501.01230")
class Doge(MatrixMethod):
    """Δ = Σ_t λ_t m_t ⊙ (τ_t + δ), with λ_t = η/‖τ_t‖ and one δ for all tasks, matrix by matrix.

    1. δ goes from 0 on by steps of Adam that make Σ_t Σ_i ⟨τ_t, τ_t − Σ_k λ_k (τ_k + δ)⟩_i² small, with
       ⟨ , ⟩_i the dot product of the i-th rows: what the merged rows lack, or have too much, along a task's.
    2. Every gradient is taken less its part in the shared subspace: the ⌊r/6⌋ strongest directions of the
       ⌊r/T⌋ largest left singular vectors of each task, r being the matrix's smaller side.
    3. m_t keeps of τ_t the largest magnitudes of all these matrices together, as in `ties`.

    As the authors' code has it. η is a length in the weights' unit, not a factor, and has to be searched for
    models other than the authors'; so does the learning rate, since a gradient is of the third order in the
    weights, and one far below 1e-8, Adam's ε, moves nothing. Matrices of transformer blocks are merged so,
    other tensors get their mean, where the authors' code leaves them the base's. Task vectors of 0 are left
    out. Weights w_t count relatively: λ_t is multiplied by T w_t / Σ w, 1 in the paper.
    """

    scaling: float = 0.07
    """η; the authors' code has 0.07 for CLIP's image encoders."""
    density: float = Field(0.3, gt=0, le=1)
    """The share of entries that m_t keeps."""
    subspace: int = Field(6, gt=0)
    """What r is divided by for the number of shared directions, rounded down."""
    steps: int = Field(400, ge=0)
    """Steps of Adam; with 0 it is task arithmetic of trimmed task vectors of length η."""
    learning_rate: float = Field(1e-4, gt=0)
    """Adam's."""

    @property
    def decides_over_model(self) -> bool:
        """The thresholds are of the whole model."""
        return True

    @property
    def cost(self) -> Cost:
        """Beside the tensors δ, its gradient and Adam's moments, and what is shared."""
        held = "two whole matrices of every expert, and eight like them"
        return Cost(passes=1 + len(self.first_passes()), held=held)

    def first_passes(self) -> dict[str, FirstPass]:
        """Return the passes that find the threshold of each task's matrices."""
        return {name: _OfMatrices(one) for name, one in self._ranking.passes().items()}

    def of_matrix(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> MergedBlock:
        """Return the merged delta of deltas (n_tasks, rows, columns)."""
        lengths = torch.tensor([norm(delta) for delta in deltas], device=deltas.device)
        lengths = torch.where(lengths > 0, lengths, torch.inf)
        scales = self.scaling * relatively_weighted(1 / lengths, weights, "doge")
        shift = self._shift(deltas, scales)
        masks = [
            delta.abs() >= least
            for delta, least in zip(deltas, self._ranking.thresholds(context), strict=True)
        ]
        kept = [delta * mask for delta, mask in zip(deltas, masks, strict=True)]
        moved = torch.stack([(delta + shift) * mask for delta, mask in zip(deltas, masks, strict=True)])
        return MergedBlock(weighted_sum(moved, scales), kept)

    @property
    def _ranking(self) -> Ranking:
        return Ranking(self.density, per_tensor=False, exact=False)

    def _shift(self, deltas: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
        """Return δ, (rows, columns), of deltas (n_tasks, rows, columns) and λ (n_tasks,)."""
        total, strength = weighted_sum(deltas, scales), float(scales.sum())
        shared = self._shared(deltas)

        def gradient(shift: torch.Tensor) -> torch.Tensor:
            merged = torch.add(total, shift, alpha=strength)
            slope = torch.zeros_like(shift)
            for delta in deltas:
                lacking = (delta * (delta - merged)).sum(1, keepdim=True)
                slope.addcmul_(delta, lacking, value=-2 * strength)
            return slope - shared @ (shared.t() @ slope)

        return adam(torch.zeros_like(total), gradient, steps=self.steps, learning_rate=self.learning_rate)

    def _shared(self, deltas: torch.Tensor) -> torch.Tensor:
        """Return orthogonal directions of the outputs, (rows, ≤ ⌊r/6⌋)."""
        size = min(deltas.shape[1:])
        parts = [svd(delta, max(size // len(deltas), 1)) for delta in deltas]
        lefts = [above_rounding(part, part[1][0])[0] for part in parts]
        return svd(torch.cat(lefts, dim=1), size // self.subspace)[0]


class _OfMatrices:
    """A first pass that sees no entries but those of matrices of transformer blocks."""

    def __init__(self, inner: FirstPass) -> None:
        self._inner = inner

    def start(self, n_tasks: int) -> Any:
        return self._inner.start(n_tasks)

    def observe(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> Any:
        seen = deltas if is_matrix(context.shape, context.layer) else deltas[:, :0]
        return self._inner.observe(seen, weights, context)

    def combine(self, total: Any, part: Any) -> Any:
        return self._inner.combine(total, part)

    def finish(self, total: Any) -> Any:
        return self._inner.finish(total)
