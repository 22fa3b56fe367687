"""AdaMerging: coefficients that make the merged model sure of itself."""

from pydantic import Field

from merging.known_methods import register
from merging.learned_method import LearnedMethod
from merging.signals import ObjectiveKind


@register("adamerging", paper="https://arxiv.org/abs/2310.02575")
class AdaMerging(LearnedMethod):
    """θ = θ₀ + Σ_t Γ_t τ_t with Γ* = argmin Σ_t E_x H(θ(Γ)), the entropy of the merged model's predictions.

    The original minimises the entropy of image classifiers on test inputs (`source: test`). For language
    models the epochs, learning rates (1e-2 for generation, 1e-3 for classification) and validation inputs are
    those of DivMerge's comparison (arXiv 2509.02108). That the entropy is of next-token distributions, mean
    over the tokens of the expert's greedy continuation, is our choice: neither paper says where it is taken.
    """

    epochs: int = Field(5, ge=1)
    """Passes over the inputs."""

    @property
    def objective(self) -> ObjectiveKind:
        """What is made small."""
        return "entropy"
