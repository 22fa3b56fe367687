"""Prompts by which vLLM scores continuations, and what its outputs say of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bench.divergence import Distributions
from bench.engine import TokenIds

MOST_LOGPROBS = 20
"""Tokens of one place that vLLM gives log-probabilities of, unless it is started otherwise."""
_MOST_TOKEN_IDS = 128  # whose log-probabilities vLLM gives for one prompt


@dataclass(frozen=True)
class Scored:
    """Of each token of a continuation: log-probability, and whether it is the likeliest."""

    logprobs: np.ndarray
    greedy: bool


@dataclass(frozen=True)
class Choices:
    """Continuations of one token after a context: one prompt scores them all."""

    prompt: TokenIds
    tokens: Sequence[int]
    asked: Sequence[int]

    def parameters(self) -> Any:
        """What vLLM is told of the prompt."""
        from vllm import SamplingParams

        ids = sorted(set(self.tokens))
        return SamplingParams(
            max_tokens=1, temperature=0.0, logprob_token_ids=ids, ignore_eos=True, detokenize=False
        )

    def answers(self, output: Any) -> dict[int, Scored]:
        """What vLLM's output says, by the index that each continuation was asked under."""
        answer = output.outputs[0]
        return {
            index: Scored(np.array([answer.logprobs[0][token].logprob]), answer.token_ids[0] == token)
            for index, token in zip(self.asked, self.tokens, strict=True)
        }


@dataclass(frozen=True)
class Continuation:
    """A continuation of several tokens: all but the last are read as a prompt, the last is predicted."""

    context: TokenIds
    tokens: TokenIds
    asked: int

    @property
    def prompt(self) -> TokenIds:
        """The context, and what is read of the continuation."""
        return [*self.context, *self.tokens[:-1]]

    def parameters(self) -> Any:
        """What vLLM is told of the prompt."""
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

    def answers(self, output: Any) -> dict[int, Scored]:
        """What vLLM's output says, by the index that each continuation was asked under."""
        read = [
            by_token[token]
            for by_token, token in zip(
                output.prompt_logprobs[len(self.context) :], self.tokens[:-1], strict=True
            )
        ]
        answer, last = output.outputs[0], self.tokens[-1]
        logprobs = [*(one.logprob for one in read), answer.logprobs[0][last].logprob]
        greedy = all(one.rank == 1 for one in read) and answer.token_ids[0] == last
        return {self.asked: Scored(np.array(logprobs), greedy)}


@dataclass(frozen=True)
class Distribution:
    """The likeliest tokens at every place of a continuation."""

    context: TokenIds
    tokens: TokenIds
    top_k: int

    @property
    def prompt(self) -> TokenIds:
        """The context, and what is read of the continuation."""
        return [*self.context, *self.tokens[:-1]]

    def parameters(self) -> Any:
        """What vLLM is told of the prompt."""
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
        rows = [sorted(place.items(), key=lambda one: one[1].rank)[: self.top_k] for place in places]
        return Distributions(
            torch.tensor([[one.logprob for _, one in row] for row in rows]),
            torch.tensor([[token for token, _ in row] for row in rows]),
        )


def questions(
    context: TokenIds, continuations: Sequence[TokenIds], asked: Sequence[int]
) -> list[Choices | Continuation]:
    """Prompts that score a context's continuations."""
    single = [
        (index, tokens[0]) for index, tokens in zip(asked, continuations, strict=True) if len(tokens) == 1
    ]
    questions: list[Choices | Continuation] = [
        Choices(context, [token for _, token in some], [index for index, _ in some])
        for some in (single[i : i + _MOST_TOKEN_IDS] for i in range(0, len(single), _MOST_TOKEN_IDS))
    ]
    questions += [
        Continuation(context, tokens, index)
        for index, tokens in zip(asked, continuations, strict=True)
        if len(tokens) > 1
    ]
    return questions
