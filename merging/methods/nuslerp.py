"""NuSLERP: SLERP of two task vectors, of whole tensors, rows or columns."""

from typing import ClassVar, Literal

import torch

from merging.arithmetic import normalised
from merging.geometry import cosines_along, slerp_shares
from merging.known_methods import register
from merging.method import Context, Method, Scope
from results.errors import InputError


@register("nuslerp", paper="https://github.com/arcee-ai/mergekit")
class NuSlerp(Method):
    """τ = sin((1−t)ω)/sin ω · τ_a + sin(tω)/sin ω · τ_b with t = w_b/(w_a + w_b).

    ω is the angle between the two task vectors, as mergekit has it where it is given a base. a and b are the
    experts in the order of their names; the way is straight where their directions are the same or opposite,
    or one of them has not moved.
    """

    of: Literal["task_vectors", "weights"] = "task_vectors"
    """Go along the sphere of `task_vectors`, or of `weights`, as mergekit does without a base."""
    within: Literal["tensor", "row", "column"] = "tensor"
    """What ω is the angle of: flattened tensors, rows along the last dimension (mergekit with
    `nuslerp_flatten: false`), or columns along the first (with `nuslerp_row_wise: true` too)."""

    scope: ClassVar[Scope] = Scope.TENSOR
    takes: ClassVar[int | None] = 2

    def __call__(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> torch.Tensor:
        """Return the merged delta of deltas (2, *shape)."""
        if len(deltas) != 2:
            raise InputError(f"Method 'nuslerp' merges two experts, and there are {len(deltas)}.")
        t = float(normalised(weights, "'nuslerp'")[1])
        origin = context.base if self.of == "weights" else torch.zeros_like(context.base)
        first, second = (origin + delta for delta in deltas)
        if self.within == "tensor" or first.dim() == 0:
            first, second = first.reshape(-1), second.reshape(-1)
        along = 0 if self.within == "column" else -1
        cosine = cosines_along(first, second, along, beside_zeros=1).clamp(-1, 1)
        shares = slerp_shares(cosine, t)
        merged = shares[0].to(first) * first + shares[1].to(first) * second
        return merged.reshape(context.base.shape) - origin
