"""A model of transformers on one text at a time: an input with an answer behind it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

Pair = tuple[Sequence[int], Sequence[int]]
"""Tokens of an input, and of the answer to it."""


def forward_inputs(model: Any, pair: Pair) -> tuple[dict[str, Any], int]:
    """Return what a model is called with, and at which position the answer's first token is predicted.

    The answer's last token is predicted and not read. There is no padding.
    """
    context, said = pair
    rows = {"input_ids": [*context, *said[:-1]]}
    first = len(context) - 1
    if model.config.is_encoder_decoder:
        rows = {
            "input_ids": list(context),
            "decoder_input_ids": [model.config.decoder_start_token_id, *said[:-1]],
        }
        first = 0
    tensors = {name: torch.tensor([row], device=model.device) for name, row in rows.items()}
    return {**tensors, "use_cache": False}, first


def drawn_log_likelihood(model: Any, pair: Pair, seed: Sequence[int]) -> torch.Tensor:
    """Return log p(y|x), summed over the answer's places, of tokens y drawn from the model at each of them.

    What is read before a place is the expert's answer up to there. Draws depend on the seed alone.
    """
    inputs, first = forward_inputs(model, pair)
    logits = model(**inputs).logits[0, first : first + len(pair[1])].float()
    drawn = drawn_tokens(logits.detach(), seed).to(logits.device)
    return logits.log_softmax(-1).gather(1, drawn[:, None]).sum()


def drawn_tokens(logits: torch.Tensor, seed: Sequence[int]) -> torch.Tensor:
    """Return a token for each row of logits (places, vocabulary), drawn by their softmax."""
    sums = logits.cpu().double().softmax(-1).cumsum(-1)
    uniform = torch.from_numpy(np.random.default_rng(list(seed)).random(len(logits)))
    places = torch.searchsorted(sums, uniform[:, None] * sums[:, -1:], right=True)
    return places[:, 0].clamp_max(logits.shape[1] - 1)


def seed_of(seed: int, task: str, number: int) -> list[int]:
    """Return the seed of a text of a task."""
    return [seed, number, *task.encode()]
