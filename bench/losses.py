"""Teacher-forced losses of a checkpoint on examples, by an engine, batched."""

from collections.abc import Sequence

import numpy as np

from bench.engine import Engine, Progress, TokenIds
from results.errors import InputError

LOSS_VERSION = 1
"""Part of the key of losses that are kept. To be raised by what changes them, how texts become tokens too."""


def mean_loss(
    engine: Engine, pairs: Sequence[tuple[TokenIds, TokenIds]], progress: Progress | None = None
) -> float:
    """Return the mean over examples of each one's mean token loss (natural logarithm).

    Args:
        engine: with the checkpoint in it.
        pairs: of each example the tokens that are only read, and those whose loss counts, in order. With the
            first token alone read, the loss is of the whole text, as METIS's loss gap has it.
        progress: called with the numbers of examples done and in all.

    Raises:
        InputError: there are no examples, or the model computes NaN.
    """
    if not pairs:
        raise InputError("There are no validation examples to take a loss on.")
    return float(
        np.mean([-logprobs.mean(dtype=np.float64) for logprobs in engine.token_logprobs(pairs, progress)])
    )
