"""AdaMerging: coefficients that make the merged model sure of itself."""

from dataclasses import dataclass
from typing import Literal

from merging.learned import LearnedMethod
from merging.method import register


@register("adamerging", paper="https://arxiv.org/abs/2310.02575")
@dataclass(frozen=True)
class AdaMerging(LearnedMethod):
    """θ = θ₀ + Σ_t Γ_t τ_t with Γ* = argmin Σ_t E_x H(θ(Γ)), the entropy of the merged model's predictions.

    The original minimises the entropy of image classifiers on test inputs (`source: test`). For language
    models the epochs, learning rates (1e-2 for generation, 1e-3 for classification) and validation inputs are
    those of DivMerge's comparison (arXiv 2509.02108). That the entropy is of next-token distributions, mean
    over the tokens of the expert's greedy continuation, is our choice: neither paper says where it is taken.
    """

    epochs: int = 5

    @property
    def objective(self) -> Literal["kl", "js", "entropy"]:
        """What is made small."""
        return "entropy"
