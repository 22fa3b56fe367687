"""Teacher-forced losses of a checkpoint on examples, by an engine, batched."""

from collections.abc import Sequence

import numpy as np

from bench.engine import Engine, Progress, TokenIds
from merging.chat import ChatForm
from merging.examples import IGNORED, Example, tokenise
from merging.train_settings import TrainSettings
from results.errors import InputError

LOSS_VERSION = 1
"""Part of the key of losses that are kept. To be raised by what changes them, how texts become tokens too."""


def mean_loss(
    engine: Engine,
    examples: Sequence[Example],
    settings: TrainSettings,
    form: ChatForm | None = None,
    progress: Progress | None = None,
) -> float:
    """Return the mean of `example_losses`."""
    return float(np.mean(example_losses(engine, examples, settings, form, progress)))


def example_losses(
    engine: Engine,
    examples: Sequence[Example],
    settings: TrainSettings,
    form: ChatForm | None = None,
    progress: Progress | None = None,
) -> list[float]:
    """Return each example's mean token loss (natural logarithm), in order.

    Args:
        engine: with the checkpoint in it.
        examples: what is read. An example without a token whose loss counts is left out.
        settings: say which tokens an example becomes, and over which the loss is taken.
        form: makes conversations of the examples.
        progress: called with the numbers of examples done and in all.

    Raises:
        InputError: there are no examples, or the model computes NaN.
    """
    pairs = [pair for example in examples if (pair := _pair(engine, example, settings, form)) is not None]
    if not pairs:
        raise InputError("There are no validation examples to take a loss on.")
    likelihoods = engine.loglikelihood(pairs, progress)
    return [float(-likelihood.logprobs.mean(dtype=np.float64)) for likelihood in likelihoods]


def _pair(
    engine: Engine, example: Example, settings: TrainSettings, form: ChatForm | None
) -> tuple[TokenIds, TokenIds] | None:
    """Tokens of an example that are only read, and those whose loss counts; the first is never predicted."""
    row = tokenise(engine.tokenizer, example, settings, form, encoder=engine.is_encoder_decoder)
    ids, labels = row["input_ids"], row["labels"]
    if engine.is_encoder_decoder:
        return ids, labels
    start = max(1, next((i for i, label in enumerate(labels) if label != IGNORED), len(ids)))
    return (ids[:start], ids[start:]) if start < len(ids) else None
