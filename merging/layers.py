"""Which transformer block a tensor belongs to, read off its name; and which layers have coefficients."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Level = Literal["task", "layer"]
WHOLE_MODEL = "model"
"""The one layer of coefficients at the level of tasks."""

# The first number in a dotted name counts the blocks of a stack: model.layers.3.…, transformer.h.3.…,
# encoder.block.3.layer.0.… (where the second number counts parts of one block).
_NUMBERED = re.compile(r"(?P<stack>.*?)\.(?P<index>\d+)\.")


@dataclass(frozen=True)
class LayerPosition:
    """A tensor's block index in its stack (None outside of blocks) and the number of blocks there."""

    layer: int | None
    depth: int


def layer_positions(names: Iterable[str]) -> Mapping[str, LayerPosition]:
    """Return each tensor's position. An encoder and a decoder are counted apart.

    Outside of blocks (embeddings, final norm, head) the depth is that of the deepest stack, 0 if none.
    """
    matches = {name: _NUMBERED.match(name) for name in names}
    depths: dict[str, int] = {}
    for match in matches.values():
        if match:
            depths[match["stack"]] = max(depths.get(match["stack"], 0), int(match["index"]) + 1)
    outside = LayerPosition(None, max(depths.values(), default=0))
    return {
        name: LayerPosition(int(match["index"]), depths[match["stack"]]) if match else outside
        for name, match in matches.items()
    }


def layer_of(name: str) -> str:
    """Return the layer that a tensor belongs to: its block, or by itself an embedding, final norm or head."""
    match = _NUMBERED.match(name)
    return f"{match['stack']}.{match['index']}" if match else name


def layers_of(names: Iterable[str], level: Level) -> tuple[str, ...]:
    """Return the layers that have coefficients of their own, in the order of the tensors."""
    return (WHOLE_MODEL,) if level == "task" else tuple(dict.fromkeys(map(layer_of, names)))
