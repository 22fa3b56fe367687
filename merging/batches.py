"""Rows of a training as batches, and the positions of a batch that need logits."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from merging.examples import IGNORED

MANY_TOKENS = 8192
"""Vocabulary from which logits are left out where nothing is learned. A smaller head costs little beside the
layers, and its trainings keep the bits that they had before."""


def collate(rows: Sequence[Mapping[str, list[int]]], padding: int, *, learned_only: bool = False) -> dict:
    """Ids, attention mask and labels of a batch, (rows, tokens), each padded on the right to its longest.

    Args:
        rows: ids and labels.
        padding: id of the token to fill up with.
        learned_only: also say at which positions logits are needed, those where some row learns the next
            token: `logits_to_keep` (positions), and these tokens, `shift_labels` (rows, positions).
    """

    def padded(lines: list[list[int]], value: int) -> torch.Tensor:
        longest = max(map(len, lines))
        return torch.tensor([line + [value] * (longest - len(line)) for line in lines])

    batch = {
        "input_ids": padded([row["input_ids"] for row in rows], padding),
        "attention_mask": padded([[1] * len(row["input_ids"]) for row in rows], 0),
        "labels": padded([row["labels"] for row in rows], IGNORED),
    }
    if learned_only:
        following = batch["labels"][:, 1:]
        batch["logits_to_keep"] = (following != IGNORED).any(0).nonzero()[:, 0]
        batch["shift_labels"] = following[:, batch["logits_to_keep"]]
    return batch


def needs_only_learned(model: Any, row: Mapping[str, list[int]]) -> bool:
    """Whether a model can leave out the logits of other positions: it is asked for a row's loss both ways."""
    whole = model.get_base_model() if hasattr(model, "get_base_model") else model
    takes = inspect.signature(whole.forward).parameters
    if whole.config.is_encoder_decoder or "logits_to_keep" not in takes:
        return False
    if whole.get_input_embeddings().num_embeddings < MANY_TOKENS:
        return False
    training, device = model.training, next(model.parameters()).device
    model.eval()
    try:
        with torch.no_grad():
            losses = [
                model(**{k: v.to(device) for k, v in collate([row], 0, learned_only=only).items()}).loss
                for only in (False, True)
            ]
    except (TypeError, ValueError, RuntimeError, IndexError):
        return False
    finally:
        model.train(training)
    return torch.allclose(losses[0].float(), losses[1].float(), rtol=1e-3)
