"""MetaGPT: task arithmetic with coefficients from the lengths of the task vectors."""

from typing import ClassVar

import torch

from merging.arithmetic import weighted_sum
from merging.known_methods import register
from merging.method import Context, FirstPass, Method, Scope

_SQUARES = "squared norms of the task vectors"


@register("metagpt", paper="https://arxiv.org/abs/2406.11385")
class MetaGpt(Method):
    """θ = θ₀ + Σ_t λ_t w_t τ_t with λ_t = ‖τ_t‖² / Σ_k ‖τ_k‖², norms of the whole task vectors.

    The paper has no weights w_t.
    """

    scope: ClassVar[Scope] = Scope.MODEL
    streamed: ClassVar[bool] = True

    def first_passes(self) -> dict[str, FirstPass]:
        """Return the pass that finds ‖τ_t‖²."""
        return {_SQUARES: _Squares()}

    def __call__(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> torch.Tensor:
        """Return Σ_t λ_t w_t τ_t of flat deltas (n_tasks, length)."""
        squares = torch.tensor(context.statistics[_SQUARES], dtype=torch.float64, device=weights.device)
        shares = squares / squares.sum() if squares.any() else squares
        return weighted_sum(deltas, weights * shares.to(weights))


class _Squares:
    """Statistic: ‖τ_t‖² of every task."""

    def start(self, n_tasks: int) -> torch.Tensor:
        return torch.zeros(n_tasks, dtype=torch.float64)

    def observe(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> torch.Tensor:
        return deltas.double().square().sum(1).cpu()

    def combine(self, total: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
        return total + part

    def finish(self, total: torch.Tensor) -> list[float]:
        return total.tolist()
