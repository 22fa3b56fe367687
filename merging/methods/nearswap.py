"""NearSwap: one expert's weights where they are near the base's, the base's where they are not."""

from typing import ClassVar

import torch
from pydantic import Field

from merging.arithmetic import the_only_one
from merging.known_methods import register
from merging.method import Context, Method, Scope


@register("nearswap", paper="https://github.com/arcee-ai/mergekit")
class NearSwap(Method):
    """θ = (1 − s) θ₀ + s θ_1 with s = min(1, t/|τ_1|) for each entry, of one expert.

    That is θ₀ + the task vector cut to [−t, t]. As in mergekit, after the model card of
    alchemonaut/QuartetAnemoi-70B-t0.0001. A weight of the expert other than 1 is refused.
    """

    t: float = Field(gt=0)
    """The largest change of an entry, in the unit of the weights; 0.0001 in the model named above."""

    scope: ClassVar[Scope] = Scope.ELEMENT
    takes: ClassVar[int | None] = 1

    def __call__(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> torch.Tensor:
        """Return the merged delta of flat deltas (1, length)."""
        return the_only_one(deltas, weights, "nearswap").clamp(-self.t, self.t)
