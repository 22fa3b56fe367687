"""How task vectors lie to one another."""

import numpy as np

from merging.blocks import Block, map_in_order, one_torch_thread_each
from merging.first_passes import pieces
from merging.task_vectors import TaskVectors
from results.errors import InputError


def cosines(vectors: TaskVectors, threads: int = 1) -> list[list[float]]:
    """Return the cosine between every two task vectors of whole models, (tasks, tasks).

    Sums are taken in float64, in an order that does not depend on the number of threads.

    Raises:
        InputError: an expert is the base, whose task vector has no direction.
    """

    def products(piece: tuple[str, Block]) -> np.ndarray:
        deltas, _ = vectors.read(*piece, {})
        wide = deltas.double().reshape(len(deltas), -1)
        return (wide @ wide.t()).cpu().numpy()

    gram = np.zeros((len(vectors.experts), len(vectors.experts)))
    with one_torch_thread_each():
        for _, part in map_in_order(products, pieces(vectors), threads):
            gram += part
    norms = np.sqrt(np.diag(gram))
    for name, norm in zip(vectors.experts, norms, strict=True):
        if norm == 0:
            raise InputError(f"Expert {name!r} has the base's weights, so its task vector has no direction.")
    return (gram / np.outer(norms, norms)).tolist()
