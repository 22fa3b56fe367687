"""A model's parameters by the names of a checkpoint's tensors, and experts' weights in their place."""

from collections.abc import Iterable
from typing import Any

import torch

from merging.checkpoints.checkpoint import Checkpoint
from merging.task_vectors import TaskVectors, widened
from results.errors import InputError


def parameters_of(model: Any, vectors: TaskVectors) -> dict[str, torch.nn.Parameter]:
    """Return a model's parameters by the names of the tensors that have task vectors.

    Raises:
        InputError: a tensor is no parameter of the model.
    """
    found = dict(model.named_parameters(remove_duplicate=False))
    if missing := [name for name in vectors.names if name not in found]:
        raise InputError(
            f"{vectors.base.folder}: the tensor {missing[0]!r} is no parameter of the model that "
            "transformers makes of it, so nothing can be measured of it."
        )
    return {name: found[name] for name in vectors.names}


@torch.no_grad()
def put_weights(model: Any, checkpoint: Checkpoint, vectors: TaskVectors, names: Iterable[str]) -> None:
    """Write tensors of a checkpoint into a model."""
    parameters = parameters_of(model, vectors)
    for name in names:
        flat = checkpoint.block(name, 0, checkpoint.info(name).numel)
        parameters[name].data.view(-1).copy_(widened(flat))
