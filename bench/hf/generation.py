"""Greedy generation in batches that share a prefix, lose their finished rows and take up waiting ones."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.functional import pad as padded
from transformers.cache_utils import Cache, CacheLayerMixin

from bench.engine import GenerationRequest, TokenIds
from bench.hf.attention import Prefix, attending, compute_prefix, uncounted
from bench.hf.head import penalised, widened
from bench.sharing import prefix_groups
from bench.stopping import StopStrings

Head = Callable[[torch.Tensor], torch.Tensor]
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
        done: called with the number of answers that were finished since.
    """
    answers: dict[int, _Answer] = {}
    head = widened(model.get_output_embeddings())
    for group in prefix_groups([request.prompt for request in requests]):
        prefix = compute_prefix(model, requests[group.members[0]].prompt[: group.length])
        without = uncounted(model, group.length)
        members = {i: _answer_to(requests[i], ends, without) for i in group.members}
        _answer_all(
            list(members.values()),
            prefix,
            model,
            head,
            batch_tokens=batch_tokens,
            pad=pad,
            decode=decode,
            done=done,
        )
        answers |= members
    return [answers[i].tokens for i in range(len(requests))]


def _answer_all(
    answers: Sequence["_Answer"],
    prefix: Prefix,
    model: Any,
    head: Head,
    *,
    batch_tokens: int,
    pad: int,
    decode: Callable[[Sequence[TokenIds]], list[str]],
    done: Callable[[int], None],
) -> None:
    """Finish answers to prompts with one prefix, the longest first: who waits takes finished ones' room."""
    waiting = deque(sorted(answers, key=lambda answer: -answer.length))
    penalise = any(answer.request.repetition_penalty != 1 for answer in answers)
    batch: PaddedBatch | None = None
    going: list[_Answer] = []
    while waiting or going:
        if taken := _that_fit(waiting, going, batch_tokens):
            new = PaddedBatch([one.request for one in taken], prefix, pad, model, head, penalise=penalise)
            _append(taken, new.tokens.tolist(), decode)
            if batch is None:
                batch = new
            else:
                batch.join(new)
            going += taken
        assert batch is not None
        while True:
            kept = [i for i, answer in enumerate(going) if not answer.finished]
            if len(going) - len(kept) >= _DROPPED_AT * len(going):
                break
            batch.read()
            _append(going, batch.tokens.tolist(), decode)
        done(len(going) - len(kept))
        batch.keep(kept)
        going = [going[i] for i in kept]
        batch = batch if going else None


def _that_fit(waiting: "deque[_Answer]", going: Sequence["_Answer"], batch_tokens: int) -> "list[_Answer]":
    """Take the first answers that wait, as many as there is room for; one at least where none is going."""
    longest = max((answer.length for answer in going), default=0)
    taken: list[_Answer] = []
    while waiting:
        longest = max(longest, waiting[0].length)
        rows = len(going) + len(taken)
        if rows and longest * (rows + 1) > batch_tokens:
            break
        taken.append(waiting.popleft())
    return taken


@dataclass
class _Answer:
    """An answer as it grows. Its length is that of prompt and answer at most."""

    request: GenerationRequest
    stop: StopStrings
    ends: frozenset[int]
    length: int
    tokens: list[int] = field(default_factory=list)
    finished: bool = False


def _answer_to(request: GenerationRequest, ends: frozenset[int], without: int) -> _Answer:
    """An answer that is not begun; so many tokens of its prompt take no room."""
    length = len(request.prompt) - without + request.max_new_tokens
    return _Answer(request, StopStrings(request.stop), ends | {*request.ends}, length)


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
        answer.finished = len(answer.tokens) >= answer.request.max_new_tokens
        if answer.stop.texts:
            looked_at.append(answer)
    tails = decode([answer.stop.tail(answer.tokens) for answer in looked_at]) if looked_at else []
    for answer, text in zip(looked_at, tails, strict=True):
        answer.finished |= answer.stop.found_in(text)


class PaddedBatch:
    """Sequences that are read token by token, padded on the left, with their keys and values.

    Args:
        requests: their prompts, which are read at once, and their repetition penalties.
        prefix: what all prompts begin with.
        pad: token that fills rows up.
        model: the model.
        head: gives logits (rows, vocabulary) in float32 of hidden states (rows, width).
        penalise: whether any repetition penalty is to be looked at.

    Attributes:
        tokens: the likeliest token after each sequence, (rows,), not read yet.
    """

    def __init__(
        self,
        requests: Sequence[GenerationRequest],
        prefix: Prefix,
        pad: int,
        model: Any,
        head: Head,
        *,
        penalise: bool,
    ) -> None:
        self._model, self._prefix, self._head = model, prefix, head
        self._cache = Cache(layer_class_to_replicate=_GrowingLayer)
        prompts = [request.prompt[prefix.tokens :] for request in requests]
        width = max(map(len, prompts))
        ids = torch.full((len(prompts), width), pad)
        real = torch.zeros(ids.shape, dtype=torch.bool)
        for line, prompt in enumerate(prompts):
            ids[line, width - len(prompt) :] = torch.tensor(prompt)
            real[line, width - len(prompt) :] = True
        self._real = real.to(model.device)
        # A finished sequence may be read on beside others, at no position that none of its own would have.
        ends = [len(request.prompt) + request.max_new_tokens - 1 for request in requests]
        self._last = torch.tensor(ends, device=model.device)[:, None]
        self._penalties = _penalties(requests, model) if penalise else None
        self.tokens = self._likeliest(ids.to(model.device))

    def read(self) -> None:
        """Read each sequence's likeliest token."""
        self._real = torch.cat([self._real, self._real.new_ones((len(self._real), 1))], dim=1)
        self.tokens = self._likeliest(self.tokens[:, None])

    def _likeliest(self, ids: torch.Tensor) -> torch.Tensor:
        """The likeliest token after each row's `ids`, of shape (rows, tokens): prompts or one token."""
        tokens = ids.shape[1]
        visible = self._real[:, None, :].expand(-1, tokens, -1)
        if tokens > 1:
            visible = visible.tril() | torch.eye(tokens, dtype=torch.bool, device=ids.device)
        mask = torch.zeros(visible.shape, dtype=self._model.dtype, device=ids.device)
        positions = (self._real.cumsum(1) - 1).clamp(min=0)[:, -tokens:] + self._prefix.tokens
        positions = positions.minimum(self._last)
        with attending(self._model, self._prefix):
            hidden = self._model.base_model(
                input_ids=ids,
                attention_mask=mask.masked_fill_(~visible, -torch.inf)[:, None],
                position_ids=positions,
                past_key_values=self._cache,
                use_cache=True,
            ).last_hidden_state
        logits = self._head(hidden[:, -1])
        if self._penalties is None:
            return logits.argmax(-1)
        penalties, seen = self._penalties
        likeliest = penalised(logits, seen, penalties).argmax(-1)
        seen.scatter_(1, likeliest[:, None], True)
        return likeliest

    def keep(self, rows: Sequence[int]) -> None:
        """Forget the other rows, and the columns that are padding in all that stay."""
        index = torch.tensor(rows, dtype=torch.long, device=self._real.device)
        real = self._real[index]
        start = int(real.any(0).nonzero()[0]) if rows else real.shape[1]
        self._real, self.tokens, self._last = real[:, start:], self.tokens[index], self._last[index]
        if self._penalties is not None:
            self._penalties = self._penalties[0][index], self._penalties[1][index]
        for layer in self._cache.layers:
            layer.keep(index, start)

    def join(self, other: "PaddedBatch") -> None:
        """Take up another batch's sequences, behind one's own."""
        width = max(self._real.shape[1], other._real.shape[1])
        self._real = torch.cat([_padded_left(batch._real, 1, width) for batch in (self, other)])
        self.tokens = torch.cat([self.tokens, other.tokens])
        self._last = torch.cat([self._last, other._last])
        if self._penalties is not None and other._penalties is not None:
            mine, theirs = self._penalties, other._penalties
            self._penalties = torch.cat([mine[0], theirs[0]]), torch.cat([mine[1], theirs[1]])
        for layer, new in zip(self._cache.layers, other._cache.layers, strict=True):
            layer.join(new)


def _penalties(requests: Sequence[GenerationRequest], model: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Each request's repetition penalty, (rows, 1), and which tokens its prompt has, (rows, vocabulary)."""
    seen = torch.zeros((len(requests), model.get_output_embeddings().weight.shape[0]), dtype=torch.bool)
    for row, request in zip(seen, requests, strict=True):
        row[torch.tensor(request.prompt)] = True
    penalties = torch.tensor([request.repetition_penalty for request in requests])
    return penalties[:, None].to(model.device), seen.to(model.device)


def _padded_left(tensor: torch.Tensor, dimension: int, width: int) -> torch.Tensor:
    """A tensor filled up with zeros, in front along a dimension."""
    behind = 2 * (tensor.dim() - 1 - dimension)
    return padded(tensor, (0,) * behind + (width - tensor.shape[dimension], 0))


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

    def keep(self, rows: torch.Tensor, start: int) -> None:
        """Forget the sequences of other rows, and what is in front of a column."""
        self.keys, self.values = (kept[rows, :, start : self.length] for kept in (self.keys, self.values))
        self.length -= start

    def join(self, other: "_GrowingLayer") -> None:
        """Take up the sequences of another layer, behind one's own; both end at the same column."""
        width = max(self.length, other.length)
        self.keys, self.values = (
            torch.cat([_padded_left(mine, 2, width), _padded_left(theirs, 2, width)])
            for mine, theirs in (
                (self.keys[:, :, : self.length], other.keys[:, :, : other.length]),
                (self.values[:, :, : self.length], other.values[:, :, : other.length]),
            )
        )
        self.length = width

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Number of keys that `query_length` more tokens will see, and the first of them."""
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        """Tokens held."""
        return self.length

    def get_max_length(self) -> int:
        """No limit."""
        return -1
