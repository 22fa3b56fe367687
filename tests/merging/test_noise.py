"""The counter-based random numbers: a pure function, evenly spread, and independent where they must be."""

import hashlib
import json
import math

import pytest
import torch

from merging import noise
from merging.noise import Stream, keep_mask, uniform

N = 2**20
STREAM = Stream(0, "ab", "w")


def word_by_hand(stream, position):
    """The keyed triple32, in Python's integers."""
    mask = 2**32 - 1
    material = json.dumps([stream.seed, stream.digest, stream.tensor, position // 2**32])
    key = hashlib.sha256(material.encode()).digest()
    offset, first, second = (int.from_bytes(key[i : i + 4], "little") for i in (0, 4, 8))
    word = (position + offset) & mask
    word = (word ^ (word >> 17)) * 0xED5AD4BB & mask ^ first
    word = (word ^ (word >> 11)) * 0xAC4C1B51 & mask ^ second
    word = (word ^ (word >> 15)) * 0x31848BAB & mask
    return word ^ (word >> 14)


def correlation(one, other):
    return torch.corrcoef(torch.stack([one, other]).double())[0, 1].item()


FAR = 2**40 + 1


@pytest.mark.parametrize("start", [0, 999, 2**31 - 4, 2**32 - 4, FAR])
def test_the_numbers_are_those_of_exact_integer_arithmetic(start):
    stream = Stream(7, "ab", "model.w")
    words = [word_by_hand(stream, position) for position in range(start, start + 11)]
    assert uniform(stream, start, start + 11).tolist() == [(word >> 8) / 2**24 for word in words]
    kept = [-1 if word >> 1 < round(0.3 * 2**31) else 0 for word in words]
    assert keep_mask(stream, start, start + 11, 0.3).tolist() == kept


@pytest.mark.parametrize("start", [0, 2**32 - 70_000, FAR])
def test_what_another_device_would_make_is_the_same(start, monkeypatch):
    class OtherDevice:
        type = "other"

    expected = [uniform(STREAM, start, start + 140_001), keep_mask(STREAM, start, start + 140_001, 0.1)]
    for name in ("empty", "arange"):
        made = getattr(torch, name)
        monkeypatch.setattr(
            noise.torch,
            name,
            lambda *shape, made=made, **options: made(*shape, **{**options, "device": "cpu"}),
        )
    found = [
        uniform(STREAM, start, start + 140_001, OtherDevice()),
        keep_mask(STREAM, start, start + 140_001, 0.1, OtherDevice()),
    ]
    assert all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))


def test_any_stretch_is_the_same_stretch():
    whole, mask = uniform(STREAM, 0, 200_001), keep_mask(STREAM, 0, 200_001, 0.5)
    for start, stop in ((0, 1), (1, 2), (3, 70_000), (65_535, 65_538), (131_071, 200_001), (5, 5)):
        assert torch.equal(uniform(STREAM, start, stop), whole[start:stop])
        assert torch.equal(keep_mask(STREAM, start, stop, 0.5), mask[start:stop])


@pytest.mark.parametrize(("probability", "kept"), [(0.0, 0.0), (1.0, 1.0), (0.1, 0.1), (0.999, 0.999)])
def test_a_mask_keeps_its_share(probability, kept):
    share = -keep_mask(STREAM, 0, N, probability).double().mean().item()
    assert abs(share - kept) <= 5 * math.sqrt(kept * (1 - kept) / N)


def test_the_numbers_are_uniform():
    numbers = uniform(STREAM, 0, N)
    assert numbers.min() >= 0 and numbers.max() < 1
    for bins in (2, 10, 256, 4096):
        counts = torch.bincount((numbers.double() * bins).long(), minlength=bins).double()
        chi_square = ((counts - N / bins) ** 2 / (N / bins)).sum().item()
        assert abs(chi_square - (bins - 1)) < 5 * math.sqrt(2 * (bins - 1))


def test_the_low_bits_are_as_random_as_the_high_ones():
    bits = (uniform(STREAM, 0, N) * 2**24).long()
    for bit in range(24):
        ones = (bits >> bit & 1).sum().item()
        assert abs(ones - N / 2) < 5 * math.sqrt(N / 4)


def test_neighbours_and_streams_are_not_correlated():
    numbers = uniform(STREAM, 0, N)
    limit = 5 / math.sqrt(N)
    for lag in (1, 2, 3, 128, 4096):
        assert abs(correlation(numbers[:-lag], numbers[lag:])) < limit
    for other in ((1, "ab", "w"), (0, "ac", "w"), (0, "ab", "x")):
        assert abs(correlation(numbers, uniform(Stream(*other), 0, N))) < limit


def test_pairs_fill_the_square_evenly():
    numbers = uniform(Stream(3, "ab", "w"), 0, N).double()
    cells = (numbers[0::2] * 64).long() * 64 + (numbers[1::2] * 64).long()
    counts = torch.bincount(cells, minlength=4096).double()
    chi_square = ((counts - N / 8192) ** 2 / (N / 8192)).sum().item()
    assert abs(chi_square - 4095) < 5 * math.sqrt(2 * 4095)
