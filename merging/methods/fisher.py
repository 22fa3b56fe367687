"""Fisher merging: average each entry by how sure each expert's answers are of it."""

from typing import ClassVar

import torch

from merging.cost import Cost
from merging.known_methods import register
from merging.measured import MeasuredKind
from merging.measured_method import MeasuredMethod, relative
from merging.method import Context, Scope


@register("fisher", paper="https://arxiv.org/abs/2111.09832")
class Fisher(MeasuredMethod):
    """θ = Σ_t λ_t F_t θ_t / Σ_t λ_t F_t for each entry, with λ_t = w_t / ‖F_t‖₂.

    F_t = 1/n Σ_x (∂ log p(y|x) / ∂θ_t)², the diagonal of the Fisher information, from one gradient for each
    of the n inputs x. The paper sums over all labels of a classifier; here y is drawn from the model, a token
    at each place of the expert's answer to x. Entries of which no expert has any F are averaged by w_t; the
    authors' code gives the first expert's F a floor of 1e-6 there.
    """

    normalize: bool = True
    """Divide by ‖F_t‖₂ of the whole model, as the authors' code does; else λ_t = w_t."""

    scope: ClassVar[Scope] = Scope.ELEMENT
    measures: ClassVar[MeasuredKind] = "fisher"

    @property
    def cost(self) -> Cost:
        """Gradients of every input alone."""
        return Cost(
            needs=("validation inputs", "gradients"),
            passes=2,
            runs="each expert on its inputs to continue them, and on each of these texts forward and "
            "backward",
            held="an expert in float32 and, of 8 GiB of its parameters at a time, gradients and squares; the "
            "squares, as large as every expert in float32, are on disk",
        )

    def __call__(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> torch.Tensor:
        """Return the merged delta of deltas (n_tasks, length)."""
        total = torch.zeros_like(context.base, dtype=torch.float64)
        divisor, mean = torch.zeros_like(total), torch.zeros_like(total)
        stop = context.offset + context.base.numel()
        for task, delta, weight in zip(context.tasks, deltas, relative(weights), strict=True):
            own = self.found.flat(task, context.tensor, context.offset, stop).to(total.device, torch.float64)
            norm = self.found.index.tasks[task].norm if self.normalize else 1.0
            own *= weight / norm if norm else 0.0
            total += own * delta
            divisor += own
            mean += weight * delta
        return torch.where(divisor > 0, total / divisor.clamp_min(1e-300), mean).float()
