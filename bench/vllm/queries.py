"""Prompts by which vLLM scores continuations, and what its outputs say of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bench.divergence import Distributions
from bench.engine import TokenIds

MAX_LOGPROBS = 20
"""Tokens of one place that vLLM gives log-probabilities of, unless it is started otherwise."""
_MOST_TOKEN_IDS = 128  # whose log-probabilities vLLM gives for one prompt


@dataclass(frozen=True)
class ScoredTokens:
    """Of each token of a continuation: log-probability, and whether it is the likeliest."""

    logprobs: np.ndarray
    greedy: bool


@dataclass(frozen=True)
class ChoicesQuery:
    """Continuations of one token after a context: one prompt scores them all."""

    prompt: TokenIds
    tokens: Sequence[int]
    indices: Sequence[int]

    def parameters(self) -> Any:
        """vLLM's sampling parameters for the prompt."""
        from vllm import SamplingParams

        ids = sorted(set(self.tokens))
        return SamplingParams(
            max_tokens=1, temperature=0.0, logprob_token_ids=ids, ignore_eos=True, detokenize=False
        )

    def answers(self, output: Any) -> dict[int, ScoredTokens]:
        """Scores in vLLM's output, by the index of each continuation."""
        answer = output.outputs[0]
        return {
            index: ScoredTokens(np.array([answer.logprobs[0][token].logprob]), answer.token_ids[0] == token)
            for index, token in zip(self.indices, self.tokens, strict=True)
        }


@dataclass(frozen=True)
class ContinuationQuery:
    """A continuation of several tokens: all but the last are read as a prompt, the last is predicted."""

    context: TokenIds
    tokens: TokenIds
    index: int

    @property
    def prompt(self) -> TokenIds:
        """The context, and what is read of the continuation."""
        return [*self.context, *self.tokens[:-1]]

    def parameters(self) -> Any:
        """vLLM's sampling parameters for the prompt."""
        from vllm import SamplingParams

        last = [self.tokens[-1]]
        return SamplingParams(
            max_tokens=1,
            temperature=0.0,
            prompt_logprobs=0,
            logprob_token_ids=last,
            ignore_eos=True,
            detokenize=False,
        )

    def answers(self, output: Any) -> dict[int, ScoredTokens]:
        """Scores in vLLM's output, by the index of each continuation."""
        read = [
            by_token[token]
            for by_token, token in zip(
                output.prompt_logprobs[len(self.context) :], self.tokens[:-1], strict=True
            )
        ]
        answer, last = output.outputs[0], self.tokens[-1]
        logprobs = [*(entry.logprob for entry in read), answer.logprobs[0][last].logprob]
        greedy = all(entry.rank == 1 for entry in read) and answer.token_ids[0] == last
        return {self.index: ScoredTokens(np.array(logprobs), greedy)}


@dataclass(frozen=True)
class DistributionQuery:
    """The likeliest tokens at every place of a continuation."""

    context: TokenIds
    tokens: TokenIds
    top_k: int

    @property
    def prompt(self) -> TokenIds:
        """The context, and what is read of the continuation."""
        return [*self.context, *self.tokens[:-1]]

    def parameters(self) -> Any:
        """vLLM's sampling parameters for the prompt."""
        from vllm import SamplingParams

        return SamplingParams(
            max_tokens=1,
            temperature=0.0,
            prompt_logprobs=self.top_k,
            logprobs=self.top_k,
            ignore_eos=True,
            detokenize=False,
        )

    def answer(self, output: Any) -> Distributions:
        """What vLLM's output says; beside the likeliest it names the token that was read."""
        places = [*output.prompt_logprobs[len(self.context) :], output.outputs[0].logprobs[0]]
        rows = [sorted(place.items(), key=lambda entry: entry[1].rank)[: self.top_k] for place in places]
        return Distributions(
            torch.tensor([[entry.logprob for _, entry in row] for row in rows]),
            torch.tensor([[token for token, _ in row] for row in rows]),
        )


def queries_of(
    context: TokenIds, continuations: Sequence[TokenIds], indices: Sequence[int]
) -> list[ChoicesQuery | ContinuationQuery]:
    """Prompts that score a context's continuations."""
    single = [
        (index, tokens[0]) for index, tokens in zip(indices, continuations, strict=True) if len(tokens) == 1
    ]
    queries: list[ChoicesQuery | ContinuationQuery] = [
        ChoicesQuery(context, [token for _, token in some], [index for index, _ in some])
        for some in (single[i : i + _MOST_TOKEN_IDS] for i in range(0, len(single), _MOST_TOKEN_IDS))
    ]
    queries += [
        ContinuationQuery(context, tokens, index)
        for index, tokens in zip(indices, continuations, strict=True)
        if len(tokens) > 1
    ]
    return queries
