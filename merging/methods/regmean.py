"""RegMean: merge each linear layer so that its outputs on every expert's inputs stay the expert's."""

from typing import ClassVar

import torch
from pydantic import Field

from merging.arithmetic import weighted_sum
from merging.cost import Cost
from merging.known_methods import register
from merging.measured import MeasuredKind
from merging.measured_method import MeasuredMethod, relative
from merging.method import Context, Scope
from merging.regression import merged_layer


@register("regmean", paper="https://arxiv.org/abs/2212.09849")
class RegMean(MeasuredMethod):
    """W = (Σ_t w_t G̃_t)⁻¹ Σ_t w_t G̃_t W_t, with G̃_t = α G_t + (1 − α) diag(G_t), for each linear layer.

    W maps inputs to outputs from the left, as X W, and G_t = X_t'X_t is the mean over the tokens that the
    expert reads. That is the least of Σ_t w_t ‖X_t W − X_t W_t‖² for α = 1. Layers are the linear ones inside
    of transformer blocks; all else, biases, norms, tables and heads, is averaged, as is what no input tells
    apart. The paper has no weights w_t.
    """

    alpha: float = Field(0.9, ge=0, le=1)
    """α, what is left of the entries off the diagonal. The default is our choice: the paper's code takes 0.1
    for T5, MergeBench 0.5, fusion_bench 0.6 for a GPT-2 and 0.95 for images."""

    scope: ClassVar[Scope] = Scope.TENSOR
    measures: ClassVar[MeasuredKind] = "grams"

    @property
    def cost(self) -> Cost:
        """Matrices of the inputs of every layer."""
        return Cost(
            needs=("validation inputs",),
            passes=2,
            runs="each expert on its inputs to continue them, and forward on these texts, once for every 8 "
            "GiB of matrices",
            held="an expert in float32 and at most 8 GiB of matrices (inputs × inputs of a layer), which are "
            "on disk; in the merge three of them in float64, and one whole tensor of every expert",
        )

    def __call__(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> torch.Tensor:
        """Return the merged delta of deltas (n_tasks, *shape)."""
        shares = relative(weights)
        if not self.found.has(context.tensor):
            return weighted_sum(deltas, shares)
        grams = (self.found.whole(task, context.tensor) for task in context.tasks)
        turned = self.found.reads_first(context.tensor)
        return merged_layer(deltas, grams, shares, self.alpha, turned=turned)
