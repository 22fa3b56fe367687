"""MaTS: match the experts in their tasks' subspaces, by the conjugate gradient method."""

from typing import ClassVar

import torch
from pydantic import Field

from merging.arithmetic import weighted_sum
from merging.conjugate_gradient import conjugate_gradient
from merging.cost import Cost
from merging.known_methods import register
from merging.measured import OUTPUT, MeasuredKind
from merging.measured_method import MeasuredMethod, relative
from merging.method import Context, Scope
from merging.regression import scaled_off_diagonal


@register("mats", paper="https://arxiv.org/abs/2312.04339")
class MaTS(MeasuredMethod):
    """Σ_t w_t B_t (W − W_t) A_t = 0 for each linear layer, solved by the conjugate gradient method.

    A_t is the mean over tokens of x x' of the layer's inputs and B_t that of g g', g being the gradient of
    log p(y|x) at its outputs: B_t ⊗ A_t is the Kronecker-factored block of expert t's Fisher information.
    y is drawn from the model as in `fisher`. Layers are the linear ones inside of transformer blocks; all
    else is averaged. The paper has no weights w_t.
    """

    alpha: float = Field(1.0, ge=0, le=1)
    """What is left of the entries off the diagonals of A_t and B_t; the paper's code tries 0 to 1."""
    iterations: int = Field(100, ge=1)
    """Most iterations; the paper's code has 100 for whole models."""
    tolerance: float = Field(1e-5, gt=0)
    """Residual over that of the base at which it stops."""
    initial: float | None = None
    """λ of the task arithmetic that it begins at, as 0.3 in the paper's code; null: the average."""

    scope: ClassVar[Scope] = Scope.TENSOR
    measures: ClassVar[MeasuredKind] = "kfac"

    @property
    def cost(self) -> Cost:
        """Matrices of the inputs and outputs of every layer."""
        return Cost(
            needs=("validation inputs", "gradients"),
            passes=2,
            runs="each expert on its inputs to continue them, and on each of these texts forward and "
            f"backward, once for every 8 GiB of matrices; in the merge {self.iterations} times two products "
            "of matrices for each layer and expert",
            held="an expert in float32 and at most 8 GiB of matrices (inputs × inputs and outputs × outputs "
            "of a layer), which are on disk; in the merge those of a layer of all experts",
        )

    def __call__(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> torch.Tensor:
        """Return the merged delta of deltas (n_tasks, *shape)."""
        shares = relative(weights)
        mean = weighted_sum(deltas, shares)
        if not self.found.has(context.tensor):
            return mean
        turned = self.found.reads_first(context.tensor)
        own = deltas.transpose(1, 2) if turned else deltas
        factors = [
            tuple(
                scaled_off_diagonal(self.found.whole(task, context.tensor, ending), self.alpha).to(own.device)
                for ending in (OUTPUT, "")
            )
            for task in context.tasks
        ]
        factors = [(share * one, other) for share, (one, other) in zip(shares, factors, strict=True)]
        right = torch.stack(
            [outputs @ tau @ inputs for (outputs, inputs), tau in zip(factors, own, strict=True)]
        ).sum(0)
        first = mean if self.initial is None else weighted_sum(deltas, self.initial * weights)
        merged = conjugate_gradient(
            lambda delta: torch.stack([outputs @ delta @ inputs for outputs, inputs in factors]).sum(0),
            right,
            first.t() if turned else first,
            iterations=self.iterations,
            tolerance=self.tolerance,
        )
        return merged.t().contiguous() if turned else merged
