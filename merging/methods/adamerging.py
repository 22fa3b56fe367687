"""AdaMerging: coefficients that make the merged model sure of itself."""

from dataclasses import dataclass
from typing import Literal

from merging.learned import LearnedMethod
from merging.method import register


@register("adamerging", paper="https://arxiv.org/abs/2310.02575")
@dataclass(frozen=True)
class AdaMerging(LearnedMethod):
    """θ = θ₀ + Σ_t Γ_t τ_t with Γ* = argmin Σ_t E_x H(θ(Γ)), the entropy of the merged model's predictions.

    For language models as DivMerge's paper compares it: the entropy of next-token distributions, mean over
    the tokens of the expert's greedy continuation, on validation inputs, with 5 epochs of Adam and a learning
    rate of 1e-2 for generation and 1e-3 for classification. The original takes test inputs: `source: test`.
    """

    epochs: int = 5

    @property
    def objective(self) -> Literal["kl", "js", "entropy"]:
        """What is made small."""
        return "entropy"
