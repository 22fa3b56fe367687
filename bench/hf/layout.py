"""Documents side by side in one batch: each context once, its choices after it, hidden from one another."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from bench.sharing import Document

_CONTEXT, _PADDING = 0, -1


@dataclass(frozen=True)
class Layout:
    """What a model reads for a batch of documents, and where it predicts what is scored.

    Attributes:
        ids: tokens of shape (documents, width), padded on the right.
        positions: position of each token in its own sequence, of the same shape.
        mask: added to attention scores, (documents, 1, width, width), or None where each sees all before it.
        rows: where predictions are read, as indices into the flattened ids; ascending.
        target_rows: for every scored token, which of `rows` predicts it; ascending.
        targets: the scored tokens.
        owners: for every scored token, the index of the continuation.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor | None
    rows: torch.Tensor
    target_rows: torch.Tensor
    targets: torch.Tensor
    owners: torch.Tensor


def lay_out(documents: Sequence[Document], prefix: int, pad: int, dtype: torch.dtype) -> Layout:
    """Lay documents out.

    Args:
        documents: what is scored.
        prefix: leading tokens of every context that are computed elsewhere and left out here.
        pad: token that fills rows up.
        dtype: of the mask.
    """
    width = max(map(len, documents)) - prefix
    shape = (len(documents), width)
    ids = torch.full(shape, pad)
    positions = torch.zeros(shape, dtype=torch.long)
    segments = torch.full(shape, _PADDING)
    scored: list[tuple[int, int, int]] = []  # flattened position, token that it predicts, continuation
    for line, document in enumerate(documents):
        own = len(document.context) - prefix
        ids[line, :own] = torch.tensor(document.context[prefix:])
        positions[line, :own] = torch.arange(prefix, prefix + own)
        segments[line, :own] = _CONTEXT
        start, last = own, line * width + own - 1
        for segment, (index, tokens) in enumerate(
            zip(document.indices, document.continuations, strict=True), start=1
        ):
            end = start + len(tokens) - 1
            ids[line, start:end] = torch.tensor(tokens[:-1], dtype=torch.long)
            positions[line, start:end] = torch.arange(prefix + own, prefix + own + len(tokens) - 1)
            segments[line, start:end] = segment
            where = [last, *range(line * width + start, line * width + end)]
            scored.extend((position, token, index) for position, token in zip(where, tokens, strict=True))
            start = end
    scored.sort(key=lambda entry: entry[0])
    places, targets, owners = (torch.tensor(column) for column in zip(*scored, strict=True))
    rows, target_rows = places.unique_consecutive(return_inverse=True)
    branches = any(document.branches for document in documents)
    mask = _block_mask(segments, dtype) if branches else None
    return Layout(ids, positions, mask, rows, target_rows, targets, owners)


def _block_mask(segments: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Zero where a token sees another: those before it of its own segment and of the context."""
    width = segments.shape[1]
    seen, seeing = segments[:, None, :], segments[:, :, None]
    visible = ((seen == _CONTEXT) | (seen == seeing)).tril_()
    # Rows of padding see themselves, so that no row sees nothing.
    visible |= torch.eye(width, dtype=torch.bool)
    return torch.zeros(visible.shape, dtype=dtype).masked_fill_(~visible, -torch.inf)[:, None]
