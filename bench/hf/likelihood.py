"""Log-likelihoods with nothing computed twice: prefixes and contexts once, the head on scored rows only."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch

from bench.hf.attention import Prefix, attending, compute_prefix, uncounted
from bench.hf.head import float32_logits, token_logprobs
from bench.hf.layout import lay_out
from bench.sharing import Document, batches, prefix_groups

Scores = tuple[torch.Tensor, torch.Tensor]
"""Of each token of a continuation: log-probability in float32, and whether it is the likeliest."""


def score_documents(
    model: Any,
    documents: Sequence[Document],
    *,
    batch_tokens: int,
    pad: int,
    done: Callable[[int], None] = lambda _: None,
) -> dict[int, Scores]:
    """Score documents' continuations, by the index that each was asked under.

    Args:
        model: a causal model of transformers whose attention can be replaced (`why_not_shared`).
        documents: what is scored.
        batch_tokens: most tokens in a forward pass, padding included (one document at least).
        pad: token that fills rows up.
        done: called with the number of continuations scored by each pass.
    """
    scores: dict[int, Scores] = {}
    for group in prefix_groups([document.context for document in documents]):
        members = [documents[i] for i in group.members]
        prefix = compute_prefix(model, members[0].context[: group.length])
        for batch in _batches_of(members, uncounted(model, group.length), batch_tokens):
            scored = score_batch(model, batch, prefix, pad)
            scores |= scored
            done(len(scored))
    return scores


def _batches_of(documents: Sequence[Document], without: int, batch_tokens: int) -> Iterator[list[Document]]:
    """Those that need no mask apart from those that do; `without` tokens of each do not count."""
    for branches in (False, True):
        lengths = {i: len(d) - without for i, d in enumerate(documents) if d.branches == branches}
        for batch in batches(lengths, batch_tokens):
            yield [documents[i] for i in batch]


def score_batch(model: Any, documents: Sequence[Document], prefix: Prefix, pad: int) -> dict[int, Scores]:
    """Score the documents of one batch, which all start with the prefix."""
    layout = lay_out(documents, prefix.tokens, pad, model.dtype)
    device = model.device
    with attending(model, prefix):
        hidden = model.base_model(
            input_ids=layout.ids.to(device),
            attention_mask=None if layout.mask is None else layout.mask.to(device),
            position_ids=layout.positions.to(device),
            use_cache=False,
        ).last_hidden_state
    rows = hidden.reshape(-1, hidden.shape[-1])[layout.rows.to(device)]
    del hidden
    head = model.get_output_embeddings()
    logprobs, greedy = token_logprobs(
        partial(float32_logits, head),
        rows,
        layout.target_rows.to(device),
        layout.targets.to(device),
        head.weight.shape[0],
    )
    # Targets are in the order of the positions that predict them, so a continuation's tokens in their own.
    order = layout.owners.argsort(stable=True)
    owners, counts = layout.owners[order].unique_consecutive(return_counts=True)
    split = zip(
        logprobs.cpu()[order].split(counts.tolist()), greedy.cpu()[order].split(counts.tolist()), strict=True
    )
    return dict(zip(owners.tolist(), split, strict=True))
