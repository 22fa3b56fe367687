"""Task arithmetic with a coefficient for each task, as mergekit-evolve searches it."""

import torch

from merging.arithmetic import weighted_sum
from merging.by_task import of_each_task
from merging.method import Context, Method, Scope


class TaskCoefficients(Method):
    """θ = θ₀ + Σ_t c_t τ_t."""

    coefficient: dict[str, float]
    """c_t by task."""

    scope = Scope.ELEMENT

    def __call__(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> torch.Tensor:
        """Return Σ_t w_t c_t τ_t of deltas (n_tasks, …)."""
        numbers = of_each_task(self.coefficient, context.tasks, "TaskCoefficients", "coefficient")
        return weighted_sum(deltas, weights * torch.tensor(numbers))
