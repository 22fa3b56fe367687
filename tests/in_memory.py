"""Running a method on task vectors in memory, in pieces and blocks as a merge does, without any file."""

import json
from collections.abc import Mapping, Sequence

import torch

from merging.blocks import blocks
from merging.layers import layer_positions
from merging.method import Context, MergedBlock, Method, Scope

Model = Mapping[str, torch.Tensor]
"""Task vectors by tensor name, each (n_tasks, *shape)."""


def merged(
    method: Method,
    model: Model,
    weights: Sequence[float] | None = None,
    *,
    seed: int = 0,
    block: int = 1000,
    base: Model | None = None,
) -> dict[str, torch.Tensor]:
    """Return the merged delta of every tensor, for a base of zeros or one given as (*shape) by name."""
    n_tasks = len(next(iter(model.values())))
    by = torch.tensor(weights or [1.0] * n_tasks)
    statistics: dict[str, object] = {}

    positions = layer_positions(model)

    def contexts(name: str, scope: Scope):
        flat, shape = model[name].reshape(n_tasks, -1), tuple(model[name].shape[1:])
        start = base[name].reshape(-1) if base else torch.zeros(flat.shape[1])
        for cut in blocks(shape, scope, block):
            piece = flat[:, cut.start : cut.stop].contiguous()
            yield (
                piece.reshape(n_tasks, *cut.shape),
                Context(
                    tensor=name,
                    layer=positions[name].layer,
                    depth=positions[name].depth,
                    shape=shape,
                    offset=cut.start,
                    base=start[cut.start : cut.stop].reshape(cut.shape),
                    tasks=tuple("abcdefgh"[:n_tasks]),
                    seed=seed,
                    digests=tuple(f"digest {row.tolist()}" for row in flat[:, :3]),
                    statistics=statistics,
                ),
            )

    for title, first_pass in method.first_passes().items():
        total = first_pass.start(n_tasks)
        for name in sorted(model):
            for piece, context in contexts(name, Scope.ELEMENT):
                total = first_pass.combine(total, first_pass.observe(piece, by, context))
        statistics = {**statistics, title: json.loads(json.dumps(first_pass.finish(total)))}

    def delta(piece: torch.Tensor, context: Context) -> torch.Tensor:
        block = method(piece, by, context)
        return block.delta if isinstance(block, MergedBlock) else block

    return {
        name: torch.cat([delta(*cut).reshape(-1) for cut in contexts(name, scope)]).reshape(shape)
        for name in model
        for shape in [tuple(model[name].shape[1:])]
        for scope in [method.scope_of(shape, positions[name].layer)]
    }


def whole(model: Model) -> torch.Tensor:
    """Return the flattened task vectors, (n_tasks, entries), in the order of the tensors' names."""
    return torch.cat([model[name].flatten(1) for name in sorted(model)], dim=1)
