"""Running a method on task vectors in memory, in pieces and blocks as a merge does, without any file."""

import json
from collections.abc import Mapping, Sequence

import torch

from merging.method import Context, MergedBlock, Method, Scope

Model = Mapping[str, torch.Tensor]
"""Task vectors by tensor name, each (n_tasks, length)."""


def merged(
    method: Method,
    model: Model,
    weights: Sequence[float] | None = None,
    *,
    seed: int = 0,
    block: int = 1000,
) -> dict[str, torch.Tensor]:
    """Return the merged delta of every tensor."""
    n_tasks = len(next(iter(model.values())))
    by = torch.tensor(weights or [1.0] * n_tasks)
    statistics: dict[str, object] = {}

    def contexts(name: str):
        step = model[name].shape[1] if method.block_scope is Scope.TENSOR else block
        for start in range(0, model[name].shape[1], step):
            piece = model[name][:, start : start + step].contiguous()
            yield (
                piece,
                Context(
                    tensor=name,
                    layer=None,
                    depth=0,
                    shape=tuple(model[name].shape[1:]),
                    offset=start,
                    base=torch.zeros(piece.shape[1]),
                    tasks=tuple("abcdefgh"[:n_tasks]),
                    seed=seed,
                    digests=tuple(f"digest {row.tolist()}" for row in model[name][:, :3]),
                    statistics=statistics,
                ),
            )

    for title, first_pass in method.first_passes().items():
        total = first_pass.start(n_tasks)
        for name in sorted(model):
            for piece, context in contexts(name):
                total = first_pass.combine(total, first_pass.observe(piece, by, context))
        statistics = {**statistics, title: json.loads(json.dumps(first_pass.finish(total)))}

    def delta(piece: torch.Tensor, context: Context) -> torch.Tensor:
        block = method(piece, by, context)
        return block.delta if isinstance(block, MergedBlock) else block

    return {name: torch.cat([delta(*cut) for cut in contexts(name)]) for name in model}


def whole(model: Model) -> torch.Tensor:
    """Return the flattened task vectors, (n_tasks, entries), in the order of the tensors' names."""
    return torch.cat([model[name] for name in sorted(model)], dim=1)
