"""DivMerge: coefficients that bring the merged model close to every expert on the expert's own answers."""

from merging.known_methods import register
from merging.learned_method import LearnedMethod
from merging.signals import Divergence, ObjectiveKind


@register("divmerge", paper="https://arxiv.org/abs/2509.02108")
class DivMerge(LearnedMethod):
    """θ = θ₀ + Σ_t Γ_t τ_t with Γ* = argmin Σ_t D_{X_t}(θ_t ‖ θ(Γ)), by Adam on unlabelled validation inputs.

    D is the mean over inputs of the mean over tokens of the expert's greedy continuation, of KL(p‖q) or of
    JS = ½ KL(p‖m) + ½ KL(q‖m), m = (p + q)/2, of next-token distributions. Defaults are the paper's. That
    embeddings, final norm and head are layers of their own at the level of layers is our choice.
    """

    divergence: Divergence = "js"
    """D."""

    @property
    def objective(self) -> ObjectiveKind:
        """What is made small."""
        return self.divergence
