"""Teacher forcing: what a model makes of given continuations, at the positions that predict their tokens."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from bench.engine import TokenIds
from bench.hf.head import float32_logits

_TRIED = 3  # tokens on which is seen whether the head is a model's last step


class Forced:
    """A model of transformers read with continuations given, causal or with an encoder.

    The head, which is the largest layer of many models, is not computed where nothing is predicted: hidden
    states come out, and `logits` makes of some of them what is wanted at a time. Gradients flow through both.

    Args:
        model: the model.
        pad: token that fills rows up.
    """

    def __init__(self, model: Any, pad: int) -> None:
        self._model, self._pad = model, pad
        self._has_encoder = bool(model.config.is_encoder_decoder)
        self._head = model.get_output_embeddings()
        # Logits that are scaled or capped behind the head are kept as they come.
        self._whole = False
        self._whole = not self._head_is_last()

    @property
    def vocabulary(self) -> int:
        """Number of logits of a position."""
        return int(self._head.weight.shape[0])

    def rows(self, pairs: Sequence[tuple[TokenIds, TokenIds]]) -> torch.Tensor:
        """Hidden states (tokens of all continuations, width) that predict each, pair after pair."""
        inputs, places = self._laid_out(pairs)
        if self._whole:
            return self._model(**inputs).logits[places]
        with self._entering_head() as entered:
            self._model(**inputs)
        return entered[0][places]

    def logits(self, rows: torch.Tensor) -> torch.Tensor:
        """Logits (rows, vocabulary) in float32 of what `rows` gave."""
        return rows.float() if self._whole else float32_logits(self._head, rows)

    @contextmanager
    def _entering_head(self) -> Iterator[list[torch.Tensor]]:
        """What goes into the head; the head itself gets one position of it."""
        entered: list[torch.Tensor] = []

        def catch(_: Any, given: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
            entered.append(given[0])
            return (given[0][:1, :1],)

        hook = self._head.register_forward_pre_hook(catch)
        try:
            yield entered
        finally:
            hook.remove()

    def _laid_out(self, pairs: Sequence[tuple[TokenIds, TokenIds]]) -> tuple[dict[str, Any], Any]:
        """The model's inputs, padded on the right, and where (row, column) tokens are predicted."""
        if self._has_encoder:
            ids, mask = self._padded([context for context, _ in pairs])
            start = self._model.config.decoder_start_token_id
            decoded, _ = self._padded([[start, *tokens[:-1]] for _, tokens in pairs])
            inputs = {"input_ids": ids, "attention_mask": mask, "decoder_input_ids": decoded}
            first = [0] * len(pairs)
        else:
            ids, mask = self._padded([[*context, *tokens[:-1]] for context, tokens in pairs])
            inputs = {"input_ids": ids, "attention_mask": mask}
            first = [len(context) - 1 for context, _ in pairs]
        counts = [len(tokens) for _, tokens in pairs]
        lines = torch.arange(len(pairs)).repeat_interleave(torch.tensor(counts))
        columns = torch.cat([torch.arange(f, f + n) for f, n in zip(first, counts, strict=True)])
        device = self._model.device
        return {**inputs, "use_cache": False}, (lines.to(device), columns.to(device))

    def _padded(self, rows: Sequence[TokenIds]) -> tuple[torch.Tensor, torch.Tensor]:
        width = max(map(len, rows))
        ids = torch.full((len(rows), width), self._pad, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for line, row in enumerate(rows):
            ids[line, : len(row)] = torch.tensor(list(row))
            mask[line, : len(row)] = 1
        return ids.to(self._model.device), mask.to(self._model.device)

    @torch.no_grad()
    def _head_is_last(self) -> bool:
        tokens = [token % self.vocabulary for token in range(1, 1 + _TRIED)]
        inputs, places = self._laid_out([(tokens, tokens)])
        logits = self._model(**inputs).logits[places].float()
        made = self.logits(self.rows([(tokens, tokens)]))
        tolerance = 1e-4 if logits.dtype == self._model.dtype else 0.02  # half precision rounds the logits
        return bool(torch.allclose(made, logits, rtol=tolerance, atol=tolerance))
