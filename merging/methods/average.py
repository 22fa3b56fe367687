"""Weight averaging (model soups): the weighted mean of the experts."""

import numpy as np

from merging.arithmetic import shares_of
from merging.known_methods import register
from merging.linear import Linear


@register("average", paper="https://arxiv.org/abs/2203.05482")
class Average(Linear):
    """θ = θ₀ + Σ_t w_t τ_t / Σ_t w_t, which is the weighted mean Σ_t w_t θ_t / Σ_t w_t of the experts."""

    def coefficients(self, weights: np.ndarray) -> np.ndarray:
        """Return w_t / Σ_t w_t."""
        return shares_of(weights, "'average'")
