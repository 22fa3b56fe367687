"""AIM: change least the weights that read the largest activations of the base."""

from dataclasses import replace
from typing import ClassVar

import torch
from pydantic import Field

from merging.cost import Cost
from merging.known_methods import register
from merging.measured import EVERYWHERE, MeasuredKind
from merging.measured_method import MeasuredMethod
from merging.method import Context, MergedBlock
from merging.wrapped_method import WrappedMethod, merged_block


@register("aim", paper="https://arxiv.org/abs/2502.02421")
class AIM(WrappedMethod, MeasuredMethod):
    """θ = θ₀ + (1 − (1 − ω) s) Δ, with s_j = mean |x_j| / max_k mean |x_k| of each input channel j.

    Δ is another method's merged delta, and x what a weight reads when the base reads the texts of all tasks,
    the mean being over their tokens. So it is of every weight but those of embeddings, and tables tied to
    them: of norms too. Biases stay as they are merged. The paper takes 256 texts of the Pile; here they are
    the tasks' own.
    """

    omega: float = Field(0.4, ge=0, le=1)
    """ω, how much of its change the most active channel keeps; 1 changes nothing. The paper's is 0.4."""

    measures: ClassVar[MeasuredKind] = "magnitudes"

    @property
    def cost(self) -> Cost:
        """One number for each input channel of the base."""
        inner = self.inner.cost
        return Cost(
            needs=("validation inputs",),
            passes=inner.passes,
            runs="each expert on its inputs to continue them, and the base forward on these texts",
            held=f"the base in float32; in the merge {inner.held}",
        )

    def __call__(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> MergedBlock:
        """Return the method's merged block, its delta relaxed."""
        block = merged_block(self.inner, deltas, weights, context)
        if not self.found.has(context.tensor):
            return block
        means = self.found.whole(EVERYWHERE, context.tensor).to(deltas.device)
        largest = means.max()
        if largest == 0:
            return block
        factors = 1 - (1 - self.omega) * means / largest
        places = torch.arange(context.base.numel(), device=deltas.device) + context.offset
        if self.found.reads_first(context.tensor):
            places = places // context.shape[-1]
        else:
            places = places % context.shape[-1]
        return replace(block, delta=block.delta * factors[places].reshape(block.delta.shape))
