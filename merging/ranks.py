"""Ranks by magnitude within whole rows or tensors; `thresholds` finds those of tensors read in pieces."""

import torch


def keep_ranks(values: torch.Tensor, first: int, count: int) -> torch.Tensor:
    """Return values with zeros but for `count` of each last dimension, ranked by magnitude from `first` on.

    Args:
        values: (…, length).
        first: how many of the largest magnitudes are left out; of equal ones the earlier is the larger.
        count: how many of the next are kept.
    """
    order = values.abs().sort(dim=-1, descending=True, stable=True).indices
    places = order[..., first : first + count]
    return torch.zeros_like(values).scatter_(-1, places, values.gather(-1, places))


def ranks_from_smallest(values: torch.Tensor) -> torch.Tensor:
    """Return each entry's rank by magnitude in its last dimension, from 0; equal ones in their order.

    Args:
        values: (…, length).

    Returns:
        float32, (…, length).
    """
    order = values.abs().sort(dim=-1, stable=True).indices
    ranks = torch.arange(values.shape[-1], dtype=torch.float32, device=values.device).expand(values.shape)
    return torch.empty_like(values).scatter_(-1, order, ranks)
