"""Greedy generation in batches that share a prefix and lose their finished rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

from bench.engine import GenerationRequest, TokenIds
from bench.hf.attention import Prefix, attending, compute_prefix, uncounted
from bench.hf.head import float32_logits, penalised
from bench.sharing import batches, prefix_groups
from bench.stopping import StopStrings

_DROPPED_AT = (
    1 / 4
)  # of a batch's rows that are finished: the others' keys and values are then copied together


def generate(
    model: Any,
    requests: Sequence[GenerationRequest],
    *,
    batch_tokens: int,
    pad: int,
    ends: frozenset[int],
    decode: Callable[[Sequence[TokenIds]], list[str]],
    done: Callable[[int], None] = lambda _: None,
) -> list[list[int]]:
    """Tokens of greedy answers, in the order of the requests, without the token that ended them.

    Args:
        model: a causal model of transformers whose attention can be replaced (`why_not_shared`).
        requests: prompts, each with its own number of tokens and stop strings.
        batch_tokens: most tokens that a batch comes to, answers and padding included (see `uncounted`).
        pad: token that fills rows up.
        ends: tokens that end an answer.
        decode: tokens of several answers as texts, to look for stop strings in.
        done: called with the number of answers finished by each batch.
    """
    answers: dict[int, list[int]] = {}
    for group in prefix_groups([request.prompt for request in requests]):
        prefix = compute_prefix(model, requests[group.members[0]].prompt[: group.length])
        without = uncounted(model, group.length)
        lengths = {i: len(requests[i].prompt) - without + requests[i].max_new_tokens for i in group.members}
        for batch in batches(lengths, batch_tokens):
            batch_requests = [requests[i] for i in batch]
            answers |= dict(
                zip(
                    batch,
                    _generate_batch(model, batch_requests, prefix, pad=pad, ends=ends, decode=decode),
                    strict=True,
                )
            )
            done(len(batch))
    return [answers[i] for i in range(len(requests))]


def _generate_batch(
    model: Any,
    requests: Sequence[GenerationRequest],
    prefix: Prefix,
    *,
    pad: int,
    ends: frozenset[int],
    decode: Callable[[Sequence[TokenIds]], list[str]],
) -> list[list[int]]:
    answers = [
        _Answer(request.max_new_tokens, StopStrings(request.stop), ends | {*request.ends})
        for request in requests
    ]
    batch = PaddedBatch([request.prompt[prefix.tokens :] for request in requests], prefix, pad, model)
    batch.penalise(requests)
    going = list(answers)
    tokens = batch.read(batch.ids)
    while True:
        _append(going, tokens.tolist(), decode)
        kept = [i for i, answer in enumerate(going) if not answer.finished]
        if not kept:
            return [answer.tokens for answer in answers]
        if len(going) - len(kept) >= _DROPPED_AT * len(going):
            batch.keep(kept)
            tokens, going = tokens[kept], [going[i] for i in kept]
        tokens = batch.read(tokens[:, None])


@dataclass
class _Answer:
    """An answer as it grows."""

    room: int
    stop: StopStrings
    ends: frozenset[int]
    tokens: list[int] = field(default_factory=list)
    finished: bool = False


def _append(
    answers: Sequence[_Answer],
    tokens: Sequence[int],
    decode: Callable[[Sequence[TokenIds]], list[str]],
) -> None:
    """Add a token to each answer that is not finished, and finish those that it ends."""
    looked_at = []
    for answer, token in zip(answers, tokens, strict=True):
        if answer.finished:
            continue
        if token in answer.ends:
            answer.finished = True
            continue
        answer.tokens.append(token)
        answer.finished = len(answer.tokens) >= answer.room
        if answer.stop.texts:
            looked_at.append(answer)
    tails = decode([answer.stop.tail(answer.tokens) for answer in looked_at]) if looked_at else []
    for answer, text in zip(looked_at, tails, strict=True):
        answer.finished |= answer.stop.found_in(text)


class PaddedBatch:
    """Sequences that are read token by token, padded on the left, with their keys and values."""

    def __init__(self, prompts: Sequence[TokenIds], prefix: Prefix, pad: int, model: Any) -> None:
        width = max(map(len, prompts))
        ids = torch.full((len(prompts), width), pad)
        real = torch.zeros(ids.shape, dtype=torch.bool)
        for line, prompt in enumerate(prompts):
            ids[line, width - len(prompt) :] = torch.tensor(prompt)
            real[line, width - len(prompt) :] = True
        self.ids, self._real = ids.to(model.device), real.to(model.device)
        self._model, self._prefix = model, prefix
        self._cache = Cache(layer_class_to_replicate=_GrowingLayer)
        self._penalties: tuple[torch.Tensor, torch.Tensor] | None = None

    def penalise(self, requests: Sequence[GenerationRequest]) -> None:
        """Penalise what is repeated from now on, where a request asks for it."""
        penalties = [request.repetition_penalty for request in requests]
        if all(penalty == 1 for penalty in penalties):
            return
        vocabulary = self._model.get_output_embeddings().weight.shape[0]
        seen = torch.zeros((len(requests), vocabulary), dtype=torch.bool)
        for row, request in zip(seen, requests, strict=True):
            row[torch.tensor(request.prompt)] = True
        device = self._real.device
        self._penalties = torch.tensor(penalties, device=device)[:, None], seen.to(device)

    def read(self, ids: torch.Tensor) -> torch.Tensor:
        """The likeliest token after each row's `ids`, of shape (rows, tokens): prompts or one token."""
        tokens = ids.shape[1]
        if self._cache.get_seq_length():
            self._real = torch.cat([self._real, self._real.new_ones(ids.shape)], dim=1)
        visible = self._real[:, None, :].expand(-1, tokens, -1)
        if tokens > 1:
            visible = visible.tril() | torch.eye(tokens, dtype=torch.bool, device=ids.device)
        mask = torch.zeros(visible.shape, dtype=self._model.dtype, device=ids.device)
        positions = (self._real.cumsum(1) - 1).clamp(min=0)[:, -tokens:] + self._prefix.tokens
        with attending(self._model, self._prefix):
            hidden = self._model.base_model(
                input_ids=ids,
                attention_mask=mask.masked_fill_(~visible, -torch.inf)[:, None],
                position_ids=positions,
                past_key_values=self._cache,
                use_cache=True,
            ).last_hidden_state
        logits = float32_logits(self._model.get_output_embeddings(), hidden[:, -1])
        if self._penalties is None:
            return logits.argmax(-1)
        penalties, seen = self._penalties
        likeliest = penalised(logits, seen, penalties).argmax(-1)
        seen.scatter_(1, likeliest[:, None], True)
        return likeliest

    def keep(self, rows: Sequence[int]) -> None:
        """Forget the other rows."""
        index = torch.tensor(rows, device=self._real.device)
        self._real = self._real[index]
        if self._penalties is not None:
            self._penalties = self._penalties[0][index], self._penalties[1][index]
        for layer in self._cache.layers:
            layer.keep(index)


class _GrowingLayer(CacheLayerMixin):
    """Keys and values of one layer, in a buffer that grows by half, so that a token costs no copy of all."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: Any = None
        self.values: Any = None
        self.length = 0

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Nothing: `update` makes the buffers."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add the keys and values of new tokens, and give those of all."""
        end = self.length + key_states.shape[2]
        if self.keys is None or self.keys.shape[2] < end:
            self.keys = self._grown(self.keys, key_states, end)
            self.values = self._grown(self.values, value_states, end)
        self.keys[:, :, self.length : end] = key_states
        self.values[:, :, self.length : end] = value_states
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def _grown(self, old: torch.Tensor | None, like: torch.Tensor, end: int) -> torch.Tensor:
        rows, heads, _, width = like.shape
        new = like.new_empty((rows, heads, end + end // 2 + 16, width))
        if old is not None:
            new[:, :, : self.length] = old[:, :, : self.length]
        return new

    def keep(self, rows: torch.Tensor) -> None:
        """Forget the sequences of other rows."""
        self.keys, self.values = self.keys[rows], self.values[rows]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Number of keys that `query_length` more tokens will see, and the first of them."""
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        """Tokens held."""
        return self.length

    def get_max_length(self) -> int:
        """No limit."""
        return -1
