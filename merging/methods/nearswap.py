"""NearSwap: one expert's weights where they are near the base's, the base's where they are not."""

from typing import ClassVar

import torch
from pydantic import Field

from merging.known_methods import register
from merging.method import Context, Method, Scope
from results.errors import InputError


@register("nearswap", paper="https://github.com/arcee-ai/mergekit")
class NearSwap(Method):
    """θ = (1 − s) θ₀ + s θ_1 with s = min(1, t/|τ_1|) for each entry, of one expert.

    That is θ₀ + the task vector cut to [−t, t]. As in mergekit, after the model card of
    alchemonaut/QuartetAnemoi-70B-t0.0001.
    """

    t: float = Field(gt=0)
    """The largest change of an entry, in the unit of the weights; 0.0001 in the model named above."""

    scope: ClassVar[Scope] = Scope.ELEMENT

    def __call__(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> torch.Tensor:
        """Return the merged delta of flat deltas (1, length)."""
        if len(deltas) != 1:
            raise InputError(
                f"Method 'nearswap' merges one expert into the base, and there are {len(deltas)}."
            )
        return deltas[0].clamp(-self.t, self.t)
