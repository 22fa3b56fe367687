"""Questions by which a server scores continuations, and what its answers say of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.api.choices import MOST_CHOICES, choices_body, read_choices
from bench.api.requests import echo_body, read_echo
from bench.api.server import Server
from bench.engine import Likelihood, TokenIds
from bench.sharing import documents

Asked = tuple[str, Mapping[str, Any], Callable[[Any], Any]]
"""A path, with what tells apart two questions of one body after a #; what is sent; what reads the answer."""


@dataclass(frozen=True)
class EchoQuestion:
    """A continuation, which is read as the end of a prompt."""

    context: TokenIds
    tokens: TokenIds
    index: int

    def asked(self, server: Server) -> Asked:
        """What is sent to the server."""
        ids, dialect = [*self.context, *self.tokens], server.dialect
        body = echo_body(server.model, server.prompt(ids, dialect), dialect)
        scored = len(self.tokens)
        return f"/completions#{scored}", body, lambda answer: read_echo(answer, ids, scored)

    def likelihoods(self, answer: Any) -> dict[int, Likelihood]:
        """What the server's answer says, by the continuation's index."""
        return {self.index: _likelihood(answer["logprobs"], bool(answer["greedy"]))}


@dataclass(frozen=True)
class ChoicesQuestion:
    """Continuations of one token each after a context."""

    context: TokenIds
    tokens: Sequence[int]
    indices: Sequence[int]

    def asked(self, server: Server) -> Asked:
        """What is sent to the server."""
        body = choices_body(server.model, self.context, self.tokens)
        tokens, sent = sorted(set(self.tokens)), len(self.context)
        return "/completions", body, lambda answer: read_choices(answer, tokens, sent)

    def likelihoods(self, answer: Any) -> dict[int, Likelihood]:
        """What the server's answer says, by the index of each continuation."""
        logprobs = dict(zip(sorted(set(self.tokens)), answer["logprobs"], strict=True))
        return {
            index: _likelihood([logprobs[token]], answer["likeliest"] == token)
            for index, token in zip(self.indices, self.tokens, strict=True)
        }


def questions_of(
    pairs: Sequence[tuple[TokenIds, TokenIds]], max_length: int, *, joins: bool
) -> list[EchoQuestion | ChoicesQuestion]:
    """Questions that score pairs of contexts and continuations.

    Args:
        pairs: none of whose continuations is longer than `max_length`.
        max_length: tokens that are read at most.
        joins: whether choices of one token are scored together.
    """
    questions: list[EchoQuestion | ChoicesQuestion] = []
    for document in documents(pairs, max_length):
        members = list(zip(document.indices, document.continuations, strict=True))
        single = [(index, tokens[0]) for index, tokens in members if len(tokens) == 1 and joins]
        if len(single) == 1:
            single = []
        for start in range(0, len(single), MOST_CHOICES):
            some = single[start : start + MOST_CHOICES]
            tokens, indices = [token for _, token in some], [index for index, _ in some]
            questions.append(ChoicesQuestion(document.context, tokens, indices))
        joined = {index for index, _ in single}
        questions += [
            EchoQuestion(document.context, tokens, index) for index, tokens in members if index not in joined
        ]
    return questions


def _likelihood(logprobs: Sequence[float], greedy: bool) -> Likelihood:
    return Likelihood(float(np.sum(logprobs)), greedy, np.array(logprobs, dtype=np.float32))
