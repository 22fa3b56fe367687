"""Task arithmetic: the scaled sum of the task vectors."""

import numpy as np

from merging.arithmetic import shares_of
from merging.known_methods import register
from merging.linear import Linear


@register("task_arithmetic", paper="https://arxiv.org/abs/2212.04089")
class TaskArithmetic(Linear):
    """θ = θ₀ + λ Σ_t w_t τ_t."""

    scaling: float = 1.0
    """λ; papers search 0.1 to 1.0 and often settle near 0.3 to 0.4 for four tasks or more."""
    normalize: bool = False
    """Divide by Σ_t w_t, which makes λ = 1 the weighted average. Off, as in the paper."""

    def coefficients(self, weights: np.ndarray) -> np.ndarray:
        """Return λ w_t, or λ w_t / Σ_t w_t."""
        relative = shares_of(weights, "'task_arithmetic' with 'normalize'") if self.normalize else weights
        return relative * self.scaling
