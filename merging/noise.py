"""Random numbers that are a pure function of what they are for.

SplitMix64 (Steele, Lea and Flood, 2014) used as a counter-based generator: the n-th 64-bit word is a
bijective mixing of `n · golden + key`, so any stretch of a stream can be made without the rest, in any
order, on any device, from integer arithmetic modulo 2⁶⁴ alone. SplitMix64 passes BigCrush; the second
half of the key enters between the two multiplications (a bijection, so every stream keeps its period and
uniformity), so that two streams are not shifted copies of each other. A word gives two numbers of 24 bits,
the most that float32 holds evenly: 0, 2⁻²⁴, …, 1 − 2⁻²⁴. Not for cryptography.
"""

import hashlib
import json

import torch

_GOLDEN = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB
_WORDS_AT_ONCE = 2**15  # 256 KiB of int64, so that the mixing stays in cache


def uniform(seed: int, digest: str, tensor: str, start: int, stop: int) -> torch.Tensor:
    """Return independent uniform numbers in [0, 1) for a stretch of a tensor.

    Args:
        seed: the merge's seed.
        digest: weights digest of the checkpoint that the numbers are for.
        tensor: the tensor's name.
        start: position of the first entry in the flattened tensor.
        stop: position behind the last one.

    Returns:
        float32 of shape (stop - start,); entry i depends on the arguments before `start` and on start + i.
    """
    offset, twist = _key(seed, digest, tensor)
    first, last = start // 2, (stop + 1) // 2
    pairs = torch.empty((last - first, 2), dtype=torch.float32)
    for begin in range(first, last, _WORDS_AT_ONCE):
        end = min(begin + _WORDS_AT_ONCE, last)
        words = _words(begin, end, offset, twist)
        out = pairs[begin - first : end - first]
        out[:, 0] = (words >> 40) & 0xFFFFFF
        out[:, 1] = (words >> 8) & 0xFFFFFF
    return pairs.mul_(2.0**-24).reshape(-1)[start - 2 * first : stop - 2 * first]


def _key(seed: int, digest: str, tensor: str) -> tuple[int, int]:
    material = hashlib.sha256(json.dumps([seed, digest, tensor]).encode()).digest()
    return int.from_bytes(material[:8], "little"), int.from_bytes(material[8:16], "little")


def _words(begin: int, end: int, offset: int, twist: int) -> torch.Tensor:
    words = torch.arange(begin, end, dtype=torch.int64).mul_(_signed(_GOLDEN)).add_(_signed(offset))
    words ^= _shifted(words, 30)
    words *= _signed(_FIRST)
    words ^= _signed(twist)
    words ^= _shifted(words, 27)
    words *= _signed(_SECOND)
    words ^= _shifted(words, 31)
    return words


def _shifted(words: torch.Tensor, by: int) -> torch.Tensor:
    """Shift right with zeros coming in, as for unsigned words."""
    return (words >> by).bitwise_and_((1 << (64 - by)) - 1)


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value
