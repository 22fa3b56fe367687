"""How far two next-token distributions are apart, and how spread one is, in natural logarithms.

KL(p‖q) = Σ p (log p − log q), JS = ½ KL(p‖m) + ½ KL(q‖m) with m = (p + q)/2, so that 0 ≤ JS ≤ ln 2 (DivMerge,
arXiv 2509.02108); entropy H(q) = −Σ q log q (AdaMerging, arXiv 2310.02575). Of distributions of which the
likeliest tokens alone are known, the rest is one bucket: what is lost by that makes KL and JS smaller, never
larger.
"""

from dataclasses import dataclass
from math import log
from typing import get_args

import torch

from merging.signals import Divergence
from results.errors import InputError

DIVERGENCES: tuple[Divergence, ...] = get_args(Divergence)
LARGEST_JS = log(2)
DIVERGENCE_VERSION = 1
"""Part of the key of divergences that are kept. To be raised by whatever changes their values."""


@dataclass(frozen=True)
class Distributions:
    """Next-token distributions at some positions, of all tokens or of the likeliest.

    Attributes:
        logprobs: natural logarithms, (positions, vocabulary), or (positions, k) of the tokens in `tokens`.
        tokens: the k likeliest tokens at each position, (positions, k); None where all are there, in order.
    """

    logprobs: torch.Tensor
    tokens: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.logprobs)


def likeliest(logprobs: torch.Tensor, top_k: int | None) -> Distributions:
    """Return distributions (positions, vocabulary) whole, or their k likeliest tokens."""
    if top_k is None or top_k >= logprobs.shape[-1]:
        return Distributions(logprobs)
    values, tokens = logprobs.topk(top_k)
    return Distributions(values, tokens)


def divergences(kind: Divergence, p: Distributions, q: Distributions) -> torch.Tensor:
    """Return D(p‖q) at every position, (positions,), in float64; a bound from below where one is not whole.

    Raises:
        InputError: no such divergence, or two whole distributions over vocabularies of different sizes.
    """
    values = apart(kind, _widened(p), _widened(q)).clamp(min=0)
    return values.clamp(max=LARGEST_JS) if kind == "js" else values


def apart(kind: Divergence, p: Distributions, q: Distributions) -> torch.Tensor:
    """Return the same in the dtype that is given, with gradients, and as rounding leaves it."""
    return between(kind, *_alike(p, q))


def between(kind: Divergence, log_p: torch.Tensor, log_q: torch.Tensor) -> torch.Tensor:
    """Return D(p‖q) over outcomes, (positions,), from logarithms (positions, outcomes), in their dtype."""
    if kind == "kl":
        values = _expected(log_p, log_p - log_q)
    elif kind == "js":
        log_m = torch.logaddexp(log_p, log_q) - log(2)
        values = (_expected(log_p, log_p - log_m) + _expected(log_q, log_q - log_m)) / 2
    else:
        raise InputError(f"There is no divergence '{kind}'; there are {', '.join(DIVERGENCES)}.")
    return values


def entropies(log_q: torch.Tensor) -> torch.Tensor:
    """Return H(q) at every position, (positions,), from logarithms (positions, vocabulary)."""
    return -_expected(log_q, log_q)


def _widened(distributions: Distributions) -> Distributions:
    """In float64; whole ones add up to 1 again, which rounding their logarithms changed."""
    wide = distributions.logprobs.double()
    return Distributions(wide.log_softmax(-1) if distributions.tokens is None else wide, distributions.tokens)


def _expected(log_p: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Σ p v, where what is impossible counts nothing whatever its value."""
    p = log_p.exp()
    return (p * torch.where(p > 0, values, 0)).sum(-1)


def _alike(p: Distributions, q: Distributions) -> tuple[torch.Tensor, torch.Tensor]:
    """Both over the same outcomes: all tokens, or the tokens that both know and one bucket for the rest."""
    if p.tokens is None and q.tokens is None:
        if p.logprobs.shape != q.logprobs.shape:
            raise InputError(
                f"One model has {p.logprobs.shape[-1]} tokens and the other {q.logprobs.shape[-1]}: their "
                "distributions cannot be compared; take models of one vocabulary."
            )
        return p.logprobs, q.logprobs
    if p.tokens is None:
        assert q.tokens is not None
        return _parted(p.logprobs, q.tokens), _with_rest(q.logprobs)
    if q.tokens is None:
        return _with_rest(p.logprobs), _parted(q.logprobs, p.tokens)
    # Tokens that the other does not know join the rest; -inf takes them out of the sum of the known.
    same = p.tokens[:, :, None] == q.tokens[:, None, :]
    of_q = torch.where(same, q.logprobs[:, None, :], -torch.inf).amax(-1)
    return _with_rest(p.logprobs.masked_fill(~same.any(-1), -torch.inf)), _with_rest(of_q)


def _parted(whole: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Logarithms of some tokens and of all others together, (positions, k + 1)."""
    rest = whole.scatter(-1, tokens, -torch.inf).logsumexp(-1, keepdim=True)
    return torch.cat([whole.gather(-1, tokens), rest], dim=-1)


def _with_rest(known: torch.Tensor) -> torch.Tensor:
    """The same where the others are not known: they are what is missing to 1, or hidden by rounding."""
    missing = 1 - known.exp().sum(-1, keepdim=True)
    rest = missing.clamp(min=known.shape[-1] * torch.finfo(torch.float32).eps).log()  # engines give float32
    return torch.cat([known, rest], dim=-1)
