"""The counter-based random numbers: a pure function, evenly spread, and independent where they must be."""

import hashlib
import json
import math

import torch

from merging.noise import uniform

N = 2**20


def by_hand(seed, digest, tensor, position):
    """SplitMix64 with a twist, in Python's integers."""
    mask = 2**64 - 1
    key = hashlib.sha256(json.dumps([seed, digest, tensor]).encode()).digest()
    offset, twist = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:16], "little")
    word = (position // 2 * 0x9E3779B97F4A7C15 + offset) & mask
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 & mask
    word ^= twist
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB & mask
    word ^= word >> 31
    bits = word >> 8 & 0xFFFFFF if position % 2 else word >> 40
    return bits / 2**24


def correlation(one, other):
    return torch.corrcoef(torch.stack([one, other]).double())[0, 1].item()


def test_the_numbers_are_those_of_exact_integer_arithmetic():
    numbers = uniform(7, "ab", "model.w", 999, 1010)
    assert numbers.tolist() == [by_hand(7, "ab", "model.w", position) for position in range(999, 1010)]
    far = 2**40 + 1
    assert uniform(7, "ab", "model.w", far, far + 1).item() == by_hand(7, "ab", "model.w", far)


def test_any_stretch_is_the_same_stretch():
    whole = uniform(0, "ab", "w", 0, 200_001)
    for start, stop in ((0, 1), (1, 2), (3, 70_000), (65_535, 65_538), (131_071, 200_001), (5, 5)):
        assert torch.equal(uniform(0, "ab", "w", start, stop), whole[start:stop])


def test_the_numbers_are_uniform():
    numbers = uniform(0, "ab", "w", 0, N)
    assert numbers.min() >= 0 and numbers.max() < 1
    for bins in (2, 10, 256, 4096):
        counts = torch.bincount((numbers.double() * bins).long(), minlength=bins).double()
        chi_square = ((counts - N / bins) ** 2 / (N / bins)).sum().item()
        assert abs(chi_square - (bins - 1)) < 5 * math.sqrt(2 * (bins - 1))


def test_the_low_bits_are_as_random_as_the_high_ones():
    bits = (uniform(0, "ab", "w", 0, N) * 2**24).long()
    for bit in range(24):
        ones = (bits >> bit & 1).sum().item()
        assert abs(ones - N / 2) < 5 * math.sqrt(N / 4)


def test_neighbours_and_streams_are_not_correlated():
    numbers = uniform(0, "ab", "w", 0, N)
    limit = 5 / math.sqrt(N)
    for lag in (1, 2, 3, 128, 4096):
        assert abs(correlation(numbers[:-lag], numbers[lag:])) < limit
    for other in ((1, "ab", "w"), (0, "ac", "w"), (0, "ab", "x")):
        assert abs(correlation(numbers, uniform(*other, 0, N))) < limit


def test_pairs_fill_the_square_evenly():
    numbers = uniform(3, "ab", "w", 0, N).double()
    cells = (numbers[0::2] * 64).long() * 64 + (numbers[1::2] * 64).long()
    counts = torch.bincount(cells, minlength=4096).double()
    chi_square = ((counts - N / 8192) ** 2 / (N / 8192)).sum().item()
    assert abs(chi_square - 4095) < 5 * math.sqrt(2 * 4095)
