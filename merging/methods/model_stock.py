"""Model Stock: from the base towards the experts' mean, as far as the angles between them say."""

from itertools import combinations
from typing import ClassVar, Literal

import torch

from merging.arithmetic import normalised, weighted_sum
from merging.geometry import cosines, cosines_along, gram
from merging.known_methods import register
from merging.method import Context, Method, Scope
from results.errors import InputError


@register("model_stock", paper="https://arxiv.org/abs/2403.19522")
class ModelStock(Method):
    """θ = θ₀ + t · Σ_t w_t τ_t / Σ_t w_t with t = N cos/(1 + (N − 1) cos), tensor by tensor.

    cos is the mean of the cosines between every two of the N ≥ 2 task vectors (the paper has no weights w_t,
    and its figures N = 2). A negative one counts as 0, which gives the base: it says that the experts have no
    common direction, and the formula, which mergekit follows there, would go away from their mean, for
    large angles without bounds. mergekit also takes too small a cosine where the product of two norms is
    below 1e-6.
    """

    within: Literal["tensor", "row"] = "tensor"
    """Angles of whole tensors, or of each `row` (last dimension), mergekit's `filter_wise`."""

    scope: ClassVar[Scope] = Scope.TENSOR

    def __call__(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> torch.Tensor:
        """Return the merged delta of deltas (n_tasks, *shape)."""
        number = len(deltas)
        if number < 2:
            raise InputError("Method 'model_stock' takes angles between experts, and there is one.")
        mean = weighted_sum(deltas, normalised(weights, "'model_stock'"))
        if self.within == "tensor" or deltas.dim() == 1:
            cosine = _mean_of_pairs(cosines(gram(deltas)))
        else:
            cosine = _mean_cosine_of_rows(deltas)
        cosine = cosine.clamp(min=0)
        ratio = number * cosine / (1 + (number - 1) * cosine)
        return mean.mul_(ratio.to(mean))


def _mean_of_pairs(values: torch.Tensor) -> torch.Tensor:
    """Return the mean above the diagonal of (n, n)."""
    pairs = list(combinations(range(len(values)), 2))
    return torch.stack([values[pair] for pair in pairs]).mean()


def _mean_cosine_of_rows(deltas: torch.Tensor) -> torch.Tensor:
    """Return the mean cosine of pairs for each last dimension of (n_tasks, …, length), (…, 1)."""
    pairs = [cosines_along(first, second, -1, beside_zeros=0) for first, second in combinations(deltas, 2)]
    return torch.stack(pairs).mean(0)
