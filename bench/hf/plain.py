"""Models whose contexts cannot be shared: encoder-decoders, and attention of other kinds."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
import transformers

from bench.engine import GenerationRequest, TokenIds
from bench.hf.head import penalised, token_logprobs
from bench.hf.likelihood import Scores
from bench.sharing import batches
from bench.stopping import StopStrings

_Input = tuple[tuple[int, ...], tuple[int, ...]]
"""What a model reads: encoder and decoder tokens, or all tokens and none."""
_Choices = list[tuple[int, TokenIds]]
"""Which pairs an input answers for, and the continuations that are scored."""


class PlainModel:
    """Runs a model of transformers as it comes.

    Args:
        model: causal, or with an encoder.
        pad: token that fills rows up.
        batch_tokens: most tokens that are scored in a forward pass, padding included.
    """

    def __init__(self, model: Any, pad: int, batch_tokens: int) -> None:
        self._model, self.pad, self._batch_tokens = model, pad, batch_tokens
        self._has_encoder = bool(model.config.is_encoder_decoder)

    def score(
        self,
        pairs: Sequence[tuple[TokenIds, TokenIds]],
        max_length: int,
        done: Callable[[int], None] = lambda _: None,
    ) -> dict[int, Scores]:
        """Scores of continuations after their contexts, by the index of the pair."""
        if self._has_encoder:
            inputs = [(tuple(context[-max_length:]), tuple(tokens)) for context, tokens in pairs]
        else:
            # The last token of a pair predicts nothing.
            inputs = [(tuple([*a, *b][-(max_length + 1) :][:-1]), ()) for a, b in pairs]
        # Choices of one token share their input, so one row answers for all of them.
        sharing: dict[_Input, list[int]] = {}
        for index, row in enumerate(inputs):
            sharing.setdefault(row, []).append(index)
        rows = list(sharing)
        scores: dict[int, Scores] = {}
        lengths = {i: len(encoded) + len(decoded) for i, (encoded, decoded) in enumerate(rows)}
        for batch in batches(lengths, self._batch_tokens):
            choices = [[(index, pairs[index][1]) for index in sharing[rows[i]]] for i in batch]
            scored = self._score_batch([rows[i] for i in batch], choices)
            scores |= scored
            done(len(scored))
        return scores

    def generate(
        self,
        requests: Sequence[GenerationRequest],
        tokenizer: Any,
        batch_tokens: int,
        ends: frozenset[int],
        done: Callable[[int], None] = lambda _: None,
    ) -> list[list[int]]:
        """Tokens of greedy answers, in the order of the requests, with an end token and what follows it."""
        answers: dict[int, list[int]] = {}
        alike: dict[tuple[int, tuple[str, ...], tuple[int, ...], float], list[int]] = {}
        for i, r in enumerate(requests):
            alike.setdefault((r.max_new_tokens, r.stop, r.ends, r.repetition_penalty), []).append(i)
        for (room, stop, own_ends, penalty), members in sorted(alike.items()):
            own = 0 if self._has_encoder else room
            for batch in batches({i: len(requests[i].prompt) + own for i in members}, batch_tokens):
                ids, mask = self._padded([requests[i].prompt for i in batch])
                start = 1 if self._has_encoder else ids.shape[1]
                output = self._model.generate(
                    input_ids=ids,
                    attention_mask=mask,
                    generation_config=self._greedy(room, ends | {*own_ends}),
                    logits_processor=_penalties(penalty, None if self._has_encoder else mask),
                    stopping_criteria=[_Stopping(tokenizer, StopStrings(stop), start)] if stop else None,
                )
                answers |= dict(zip(batch, map(self._unpadded, output[:, start:].tolist()), strict=True))
                done(len(batch))
        return [answers[i] for i in range(len(requests))]

    def _greedy(self, room: int, ends: frozenset[int]) -> Any:
        """Greedy decoding, with nothing of what the checkpoint's own settings say but its decoder's start."""
        start = getattr(self._model.generation_config, "decoder_start_token_id", None)
        return transformers.GenerationConfig(
            max_new_tokens=room,
            do_sample=False,
            num_beams=1,
            pad_token_id=self.pad,
            eos_token_id=sorted(ends) or None,
            decoder_start_token_id=start,
        )

    def _unpadded(self, tokens: list[int]) -> list[int]:
        """Without the padding of a batch that went on after this answer had stopped."""
        while tokens and tokens[-1] == self.pad:
            tokens.pop()
        return tokens

    def _score_batch(self, rows: list[_Input], choices: list[_Choices]) -> dict[int, Scores]:
        ids, mask = self._padded([encoded for encoded, _ in rows])
        if self._has_encoder:
            longest = max(len(decoded) for _, decoded in rows)
            labels = torch.tensor([[*decoded, *[self.pad] * (longest - len(decoded))] for _, decoded in rows])
            logits = self._model(input_ids=ids, attention_mask=mask, labels=labels.to(ids.device)).logits
        else:
            # Padding is on the left, so all scored positions are at the end.
            logits = self._causal_logits(ids, mask, max(len(tokens) for row in choices for _, tokens in row))
        scores = {}
        for row, of_row in enumerate(choices):
            for index, tokens in of_row:
                first = 0 if self._has_encoder else logits.shape[1] - len(tokens)
                scores[index] = self._scores(logits[row, first : first + len(tokens)], tokens)
        return scores

    def _causal_logits(self, ids: torch.Tensor, mask: torch.Tensor, longest: int) -> torch.Tensor:
        arguments: dict[str, Any] = {"input_ids": ids, "attention_mask": mask, "use_cache": False}
        taken = inspect.signature(self._model.forward).parameters
        if "position_ids" in taken:
            arguments["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)
        if "logits_to_keep" in taken:
            arguments["logits_to_keep"] = longest
        return self._model(**arguments).logits

    @staticmethod
    def _scores(logits: torch.Tensor, tokens: TokenIds) -> Scores:
        targets = torch.tensor(list(tokens), device=logits.device)
        rows = torch.arange(len(tokens), device=logits.device)
        logprobs, greedy = token_logprobs(
            lambda some: some.to(torch.float32, copy=True), logits, rows, targets, logits.shape[-1]
        )
        return logprobs.cpu(), greedy.cpu()

    def _padded(self, rows: Sequence[TokenIds]) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and mask. Padding goes left of what is continued, and right of what is only read."""
        width = max(len(row) for row in rows)
        ids = torch.full((len(rows), width), self.pad, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for i, row in enumerate(rows):
            start = 0 if self._has_encoder else width - len(row)
            ids[i, start : start + len(row)] = torch.tensor(list(row))
            mask[i, start : start + len(row)] = 1
        return ids.to(self._model.device), mask.to(self._model.device)


def _penalties(penalty: float, mask: torch.Tensor | None) -> Any:
    """What penalises repeated tokens, of the prompt too where its mask is given; None for no penalty."""
    return None if penalty == 1 else transformers.LogitsProcessorList([_Penalty(penalty, mask)])


class _Penalty(transformers.LogitsProcessor):
    """A repetition penalty that padding is no part of."""

    def __init__(self, penalty: float, mask: torch.Tensor | None) -> None:
        self._penalty, self._mask = penalty, mask

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        real = torch.ones_like(input_ids, dtype=torch.bool)
        if self._mask is not None:
            real[:, : self._mask.shape[1]] = self._mask.bool()
        counts = torch.zeros_like(scores).scatter_add_(1, input_ids, real.to(scores.dtype))
        return penalised(scores, counts > 0, self._penalty)


class _Stopping(transformers.StoppingCriteria):
    """Ends a row whose generated text holds one of the stop strings."""

    def __init__(self, tokenizer: Any, stop: StopStrings, start: int) -> None:
        self._tokenizer, self._stop, self._start = tokenizer, stop, start

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
        tails = [self._stop.tail(tokens) for tokens in input_ids[:, self._start :].tolist()]
        texts = self._tokenizer.batch_decode(tails, skip_special_tokens=False)
        return torch.tensor([self._stop.found_in(text) for text in texts], device=input_ids.device)
