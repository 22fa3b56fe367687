"""Weight averaging (model soups): the weighted mean of the experts."""

import torch

from merging.arithmetic import normalised
from merging.known_methods import register
from merging.linear import Linear


@register("average", paper="https://arxiv.org/abs/2203.05482")
class Average(Linear):
    """θ = θ₀ + Σ_t w_t τ_t / Σ_t w_t, which is the weighted mean Σ_t w_t θ_t / Σ_t w_t of the experts."""

    def coefficients(self, weights: torch.Tensor) -> torch.Tensor:
        """Return w_t / Σ_t w_t."""
        return normalised(weights, "'average'")
