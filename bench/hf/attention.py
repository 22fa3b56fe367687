"""Attention of many sequences that start with one prefix, whose keys and values are computed once."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers import AttentionInterface, DynamicCache

from bench.engine import TokenIds

NAME = "manyshot"
_UNSUPPORTED = ("softcap", "s_aux", "sliding_window", "position_bias")


class UnsupportedAttentionError(Exception):
    """A model's attention does something that this one does not."""


@dataclass(frozen=True)
class Prefix:
    """Keys and values of a prefix in every layer, each of shape (1, key heads, tokens, head width)."""

    tokens: int
    keys: Sequence[torch.Tensor] = ()
    values: Sequence[torch.Tensor] = ()


NO_PREFIX = Prefix(0)


_prefix: ContextVar[Prefix] = ContextVar("prefix", default=NO_PREFIX)
"""What the attention function looks up, since models hand it nothing of ours."""


@contextmanager
def attending(model: Any, prefix: Prefix = NO_PREFIX) -> Iterator[None]:
    """Let a model's layers attend to a prefix and to what they are given.

    Inside, a mask of four dimensions is added to the scores among the tokens that are given, and without one
    each sees those before it; all see the whole prefix.
    """
    ordinary = model.config._attn_implementation
    model.config._attn_implementation = NAME
    outer = _prefix.set(prefix)
    try:
        yield
    finally:
        _prefix.reset(outer)
        model.config._attn_implementation = ordinary


def compute_prefix(model: Any, tokens: TokenIds) -> Prefix:
    """Keys and values of a prefix."""
    if not len(tokens):
        return NO_PREFIX
    ids = torch.tensor([list(tokens)], device=model.device)
    cache = DynamicCache()
    with attending(model):
        model.base_model(
            input_ids=ids,
            position_ids=torch.arange(len(tokens), device=ids.device)[None],
            past_key_values=cache,
            use_cache=True,
        )
    return Prefix(
        len(tokens), [layer.keys for layer in cache.layers], [layer.values for layer in cache.layers]
    )


def uncounted(model: Any, prefix: int) -> int:
    """Tokens of a prefix that take no memory for each sequence: all, or none where it is repeated."""
    config = model.config.get_text_config()
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return prefix if _never_repeats(model.device, width) else 0


def _never_repeats(device: torch.device, head_width: int) -> bool:
    """Whether there is a kernel that gives normalisers too, so that a prefix need not be repeated."""
    return device.type == "cpu" or (device.type == "cuda" and head_width % 8 == 0)


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """As transformers calls it: query (batch, heads, tokens, width), keys and values with their own heads."""
    for option in _UNSUPPORTED:
        if options.get(option) is not None:
            raise UnsupportedAttentionError(option)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    prefix = _prefix.get()
    if not prefix.tokens:
        output = _among(query, key, value, attention_mask, scale)
    else:
        layer: int = module.layer_idx  # type: ignore[assignment]
        shared = prefix.keys[layer], prefix.values[layer]
        joined = _in_two_parts if _never_repeats(query.device, query.shape[-1]) else _in_one
        output = joined(query, key, value, attention_mask, scale=scale, shared=shared)
    return output.transpose(1, 2).contiguous(), None


_Shared = tuple[torch.Tensor, torch.Tensor]


def _among(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, scale: float
) -> torch.Tensor:
    if query.shape[2] == 1:
        # A key head's queries stand in for its tokens: they see the same keys, which need no repeating then.
        rows = query.reshape(query.shape[0], key.shape[1], -1, query.shape[3])
        return scaled_dot_product_attention(rows, key, value, attn_mask=mask, scale=scale).reshape(
            query.shape
        )
    key, value = _for_heads(query, key), _for_heads(query, value)
    return scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=mask is None, scale=scale
    )


def _in_one(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    *,
    scale: float,
    shared: _Shared,
) -> torch.Tensor:
    """With the prefix's keys and values repeated for every sequence."""
    batch, own = key.shape[0], key.shape[2]
    key, value = (
        torch.cat([before.expand(batch, -1, -1, -1), after], dim=2)
        for before, after in zip(shared, (key, value), strict=True)
    )
    tokens = query.shape[2]
    if mask is None:
        mask = torch.full((tokens, own), -torch.inf, dtype=query.dtype, device=query.device).triu(1)[
            None, None
        ]
    seen = mask.new_zeros((*mask.shape[:-1], shared[0].shape[2]))
    return _among(query, key, value, torch.cat([seen, mask], dim=-1), scale)


def _in_two_parts(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    *,
    scale: float,
    shared: _Shared,
) -> torch.Tensor:
    """Attention to the prefix and among the own tokens apart, joined by their normalisers.

    All sequences' queries meet the prefix in one product per key head, so it is read once and never repeated.
    """
    batch, heads, tokens, width = query.shape
    groups = shared[0].shape[1]
    folded = query.view(batch, groups, heads // groups, tokens, width).permute(1, 2, 0, 3, 4)
    folded = folded.reshape(1, groups, -1, width)
    before, before_norm = _with_norms(folded, *shared, scale=scale)
    before = before.reshape(groups, heads // groups, batch, tokens, width).permute(2, 0, 1, 3, 4)
    before_norm = before_norm.reshape(groups, heads // groups, batch, tokens).permute(2, 0, 1, 3)
    if tokens == 1:
        rows = query.view(batch, groups, heads // groups, width)  # as in `_among`
        own, own_norm = _with_norms(rows, key, value, mask, scale=scale)
    else:
        key, value = _for_heads(query, key), _for_heads(query, value)
        own, own_norm = _with_norms(query, key, value, mask, causal=mask is None, scale=scale)
    own = own.reshape(batch, groups, heads // groups, tokens, width)
    own_norm = own_norm.reshape(batch, groups, heads // groups, tokens)
    share = torch.sigmoid(before_norm - own_norm).unsqueeze(-1).to(own.dtype)
    return torch.lerp(own, before, share).reshape(batch, heads, tokens, width)


def _with_norms(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None = None,
    *,
    causal: bool = False,
    scale: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention, and the logarithm of what each query's weights were divided by."""
    if query.device.type == "cpu":
        return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            query, key, value, 0.0, causal, attn_mask=mask, scale=scale
        )
    if mask is not None:
        # The kernel reads rows that start at multiples of 16 bytes.
        keys = mask.shape[-1]
        mask = pad(mask, (0, -keys % 16))[..., :keys].expand(*query.shape[:3], keys)
    output, norms, *_ = torch.ops.aten._scaled_dot_product_efficient_attention(
        query, key, value, mask, True, 0.0, causal, scale=scale
    )
    return output, norms[..., : query.shape[2]]


def _for_heads(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    return (
        key.repeat_interleave(query.shape[1] // key.shape[1], dim=1)
        if query.shape[1] != key.shape[1]
        else key
    )


AttentionInterface.register(NAME, _attention)
