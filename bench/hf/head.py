"""Log-probabilities of given tokens from hidden states, without logits of all positions in memory at once."""

from collections.abc import Callable
from functools import partial

import torch
from torch.nn.functional import linear

_LOGITS_AT_ONCE = 2**24  # float32 entries: 64 MiB


def float32_logits(head: torch.nn.Linear, hidden: torch.Tensor) -> torch.Tensor:
    """Logits (n, vocabulary) in float32 of hidden states (n, width): rounded to half precision, they tie."""
    if head.weight.dtype == torch.float32:
        return head(hidden)
    if hidden.is_cuda:
        logits = torch.mm(hidden, head.weight.t(), out_dtype=torch.float32)
    else:
        logits = hidden.float() @ head.weight.float().t()
    return logits if head.bias is None else logits + head.bias.float()


def widened(head: torch.nn.Linear) -> Callable[[torch.Tensor], torch.Tensor]:
    """`float32_logits` of a head for many calls: a CPU makes its weights float32 once, and not at each."""
    if head.weight.dtype == torch.float32 or head.weight.is_cuda:
        return partial(float32_logits, head)
    weight, bias = head.weight.float(), None if head.bias is None else head.bias.float()
    return lambda hidden: linear(hidden.float(), weight, bias)


def token_logprobs(
    head: Callable[[torch.Tensor], torch.Tensor],
    hidden: torch.Tensor,
    target_rows: torch.Tensor,
    targets: torch.Tensor,
    vocabulary: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probability (natural logarithm, float32) of every target, and whether it is the likeliest token.

    Args:
        head: maps hidden states (n, width) to logits (n, vocabulary) in float32.
        hidden: hidden states of shape (rows, width).
        target_rows: which row predicts each target; ascending.
        targets: token ids.
        vocabulary: number of logits of a row.
    """
    rows_at_once = max(1, _LOGITS_AT_ONCE // vocabulary)
    logprobs = torch.empty(targets.shape, dtype=torch.float32, device=hidden.device)
    greedy = torch.empty(targets.shape, dtype=torch.bool, device=hidden.device)
    for first in range(0, len(hidden), rows_at_once):
        bounds = torch.tensor([first, first + rows_at_once])
        logits = head(hidden[first : first + rows_at_once])
        begin, end = torch.searchsorted(target_rows, bounds.to(hidden.device)).tolist()
        rows, wanted = target_rows[begin:end] - first, targets[begin:end]
        largest, likeliest = logits.max(-1)
        logits -= largest[:, None]
        picked = logits[rows, wanted]
        logprobs[begin:end] = picked - logits.exp_().sum(-1).log()[rows]
        greedy[begin:end] = likeliest[rows] == wanted
    return logprobs, greedy


def penalised(logits: torch.Tensor, seen: torch.Tensor, penalty: torch.Tensor | float) -> torch.Tensor:
    """Return logits under a repetition penalty (Keskar et al. 2019).

    Args:
        logits: (rows, vocabulary).
        seen: which tokens are there already, of the same shape.
        penalty: one for all rows, or (rows, 1).
    """
    return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)
