"""Continuations of one token after one context: one request scores them all, where a server can."""

from collections.abc import Sequence
from typing import Any

from bench.api.requests import GREEDY, TOKEN_ID, logprobs_of, prompt_tokens
from bench.engine import TokenIds

MOST_CHOICES = 128
"""Tokens whose log-probabilities vLLM gives for one prompt."""


def choices_body(model: str, context: TokenIds, tokens: Sequence[int]) -> dict[str, Any]:
    """A request for the log-probabilities of some tokens after a context, as vLLM takes it."""
    return {
        "model": model,
        "prompt": list(context),
        "max_tokens": 1,
        "logprobs": 1,
        "logprob_token_ids": sorted(set(tokens)),
        "return_tokens_as_token_ids": True,
        "repetition_penalty": 1.0,
        **GREEDY,
    }


def read_choices(answer: Any, tokens: Sequence[int], sent: int) -> dict[str, Any]:
    """Log-probabilities of some tokens, in their order, and the likeliest of all.

    Beside them is how many tokens of the context, of so many that were sent, the server read.

    Raises:
        FilteredError: its filter of contents keeps them back.
        RefusedError: it read more or fewer.
        LookupError, TypeError, ValueError: the answer lacks one.
    """
    logprobs = logprobs_of(answer)
    [told] = logprobs["top_logprobs"]
    [likeliest] = logprobs["tokens"]
    return {
        "logprobs": [float(told[f"{TOKEN_ID}{token}"]) for token in tokens],
        "likeliest": int(likeliest.removeprefix(TOKEN_ID)),
        "read": prompt_tokens(answer, sent),
    }
