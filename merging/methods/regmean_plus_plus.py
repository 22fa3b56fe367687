"""RegMean++: RegMean on inputs that come out of the layers merged before."""

from collections.abc import Mapping
from typing import Any, ClassVar

from merging.cost import Cost
from merging.known_methods import register
from merging.measured import MeasuredKind
from merging.methods.regmean import RegMean


@register("regmean_plus_plus", paper="https://arxiv.org/abs/2508.03121")
class RegMeanPlusPlus(RegMean):
    """RegMean, with G_t from the inputs that expert t's block l gets from the merged model's block l − 1.

    Blocks are merged one after the other, from averaged embeddings on. Within a block the inputs are those of
    expert t's own block. Biases and norms are averaged before the next block reads what comes out.
    """

    measures: ClassVar[MeasuredKind] = "merged_grams"

    @property
    def cost(self) -> Cost:
        """That of RegMean, and each block's outputs."""
        return Cost(
            needs=("validation inputs",),
            passes=2,
            runs="each expert on its inputs to continue them, and each block of each expert and of the "
            "merged model once on these texts",
            held="a model in float32, the matrices of one block of every expert, and on the CPU what goes "
            "from one block to the next on every text",
        )

    def decides(self, weights: Mapping[str, float]) -> Any:
        """The layers that are merged before depend on the settings."""
        return [self.measures, self.alpha, dict(sorted(weights.items()))]
