"""Random numbers that are a pure function of what they are for.

Every entry's number is a hash of its position, keyed by the stream (seed, expert, tensor): any stretch can be
made without the rest, in any order, on any device, by integer arithmetic modulo 2³² alone, which vectorises
on every processor. The hash is `triple32` of C. Wellons' hash-prospector (2018), three rounds of xor-shift
and multiplication with an avalanche bias of 2·10⁻², entered between the rounds by 96 bits of key, so that two
streams are not shifted copies of each other. Not for cryptography.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np

from merging.checkpoints.compiled import compiled
from merging.checkpoints.when_used import torch


@dataclass(frozen=True)
class Stream:
    """What random numbers are for: the merge's seed, the expert's weights digest, and the tensor's name."""

    seed: int
    digest: str
    tensor: str


def uniform(stream: Stream, start: int, stop: int, device: torch.device | None = None) -> torch.Tensor:
    """Return independent uniform numbers in [0, 1) for a stretch of a tensor: 0, 2⁻²⁴, …, 1 − 2⁻²⁴.

    Args:
        stream: what they are for.
        start: position of the first entry in the flattened tensor.
        stop: position behind the last one.
        device: where the numbers are made; None for the CPU.

    Returns:
        float32 of shape (stop - start,); entry i depends on the stream and on start + i alone.
    """
    numbers = torch.empty(stop - start, dtype=torch.float32, device=device)
    if numbers.device.type == "cpu":
        for part, position, key in _keyed(numbers, stream, start):
            _fill_uniform(part, position, key)
        return numbers
    for begin, words in _words(stream, start, stop, numbers.device):
        words.bitwise_right_shift_(8).bitwise_and_(0xFFFFFF)
        numbers[begin - start : begin - start + len(words)] = words
    return numbers.mul_(2.0**-24)


def keep_mask(
    stream: Stream, start: int, stop: int, probability: float, device: torch.device | None = None
) -> torch.Tensor:
    """Return which entries of a stretch are kept when each is kept by itself with a probability.

    Args:
        stream, start, stop, device: as for `uniform`.
        probability: in [0, 1], carried out to the nearest multiple of 2⁻³¹.

    Returns:
        int32 of shape (stop - start,): −1, which is all ones in binary, where kept, and 0 where not.
    """
    mask = torch.empty(stop - start, dtype=torch.int32, device=device)
    below = kept_below(probability)
    if mask.device.type == "cpu":
        for part, position, key in _keyed(mask, stream, start):
            _fill_keep_mask(part, position, np.uint32(below), key)
        return mask
    if below == 2**31:
        return mask.fill_(-1)
    for begin, words in _words(stream, start, stop, mask.device):
        # 31 bits of the word less the bound are negative where kept, and the sign is spread over all bits.
        words.bitwise_right_shift_(1).bitwise_and_(0x7FFFFFFF).sub_(below)
        torch.bitwise_right_shift(words, 31, out=mask[begin - start : begin - start + len(words)])
    return mask


@compiled()
def _fill_uniform(out: np.ndarray, start: np.uint32, key: tuple[np.uint32, ...]) -> None:
    """Fill float32 (length,) with `noise.uniform` from a position on, modulo 2³²."""
    begin, first, second = np.uint32(start + key[0]), key[1], key[2]
    for i in range(out.size):
        word = hashed(np.uint32(np.uint32(i) + begin), first, second)
        out[i] = np.float32(np.int32(word >> np.uint32(8))) * np.float32(2**-24)


@compiled()
def _fill_keep_mask(out: np.ndarray, start: np.uint32, below: np.uint32, key: tuple[np.uint32, ...]) -> None:
    """Fill int32 (length,) with −1 where the upper 31 bits of a word are less than `below`, else with 0."""
    begin, first, second = np.uint32(start + key[0]), key[1], key[2]
    for i in range(out.size):
        word = hashed(np.uint32(np.uint32(i) + begin), first, second)
        out[i] = np.int32(-1) if np.uint32(word >> np.uint32(1)) < below else np.int32(0)


@compiled()
def hashed(word: Any, first: Any, second: Any) -> Any:
    """Return the hash of a position, entered by two parts of a key, all uint32."""
    # Numba widens every result to 64 bits, so each is cut back to 32.
    word = np.uint32(np.uint32((word ^ (word >> np.uint32(17))) * np.uint32(0xED5AD4BB)) ^ first)
    word = np.uint32(np.uint32((word ^ (word >> np.uint32(11))) * np.uint32(0xAC4C1B51)) ^ second)
    word = np.uint32((word ^ (word >> np.uint32(15))) * np.uint32(0x31848BAB))
    return np.uint32(word ^ (word >> np.uint32(14)))


def word_key(stream: Stream, start: int, stop: int) -> np.ndarray | None:
    """Return what `sparse_kernels.merge_dropped` makes the words of a stretch from.

    Its first position modulo 2³², moved by the key's offset, and the key's two other parts, uint32 (3,);
    None where the stretch has more than one key.
    """
    number = start // 2**32
    if (stop - 1) // 2**32 != number:
        return None
    offset, first, second = _key(stream, number)
    return np.array([(start + offset) % 2**32, first, second], dtype=np.uint32)


def kept_below(probability: float) -> int:
    """Return the bound below which the upper 31 bits of a word keep an entry."""
    return round(probability * 2**31)


def _segments(start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """Yield the parts of a stretch that have one key, as first and last position and the key's number."""
    while start < stop:
        number = start // 2**32
        end = min(stop, (number + 1) * 2**32)
        yield start, end, number
        start = end


def _keyed(
    out: torch.Tensor, stream: Stream, start: int
) -> Iterator[tuple[np.ndarray, np.uint32, tuple[np.uint32, ...]]]:
    """Yield the parts of a stretch that have one key, each as numpy's, with its first position modulo 2³²."""
    array = out.numpy()
    for begin, end, number in _segments(start, start + len(out)):
        key = tuple(np.uint32(part) for part in _key(stream, number))
        yield array[begin - start : end - start], np.uint32(begin % 2**32), key


def _words(stream: Stream, start: int, stop: int, device: torch.device) -> Iterator[tuple[int, torch.Tensor]]:
    """Yield the words of a stretch as int32: each part that has one key, after its first position."""
    for begin, end, number in _segments(start, stop):
        offset, first, second = _key(stream, number)
        words = torch.arange(end - begin, dtype=torch.int32, device=device).add_(_signed(begin + offset))
        _xor_shift(words, 17).mul_(_signed(0xED5AD4BB)).bitwise_xor_(_signed(first))
        _xor_shift(words, 11).mul_(_signed(0xAC4C1B51)).bitwise_xor_(_signed(second))
        _xor_shift(words, 15).mul_(_signed(0x31848BAB))
        yield begin, _xor_shift(words, 14)


def _key(stream: Stream, segment: int) -> tuple[int, int, int]:
    """Return the key of a stream's positions from segment · 2³² on; positions count modulo 2³² in each."""
    material = hashlib.sha256(json.dumps([*astuple(stream), segment]).encode()).digest()
    offset, first, second = (int.from_bytes(material[i : i + 4], "little") for i in (0, 4, 8))
    return offset, first, second


def _xor_shift(words: torch.Tensor, by: int) -> torch.Tensor:
    """Set words to words ^ (words >> by) with zeros coming in, as for unsigned words."""
    return words.bitwise_xor_((words >> by).bitwise_and_((1 << (32 - by)) - 1))


def _signed(value: int) -> int:
    return (value + 2**31) % 2**32 - 2**31
