"""Compiled loops for methods that drop entries: blocks of bfloat16 in, a block of bfloat16 out, in one pass.

As in `kernels`, they go over a block in stretches that stay in the cache, and give bit for bit what the
methods' own arithmetic in torch gives.
"""

from typing import Any

import numpy as np

from merging.checkpoints.compiled import add_scaled, compiled, scale
from merging.kernels import (
    MAGNITUDE,
    STRETCH,
    count_nonzero,
    subtract_stretch,
    widen_bfloat16,
    write_stretch,
)
from merging.noise import hashed

_SMALLEST = np.finfo(np.float32).tiny
_ZERO, _ONE = np.float32(0), np.float32(1)


@compiled()
def count_upper_bits(base: np.ndarray, experts: tuple[np.ndarray, ...], counts: np.ndarray) -> np.uint32:
    """Count the upper 15 bits of the magnitudes of experts − base.

    Args:
        base: bfloat16 numbers as uint16, (length,).
        experts: the same, (length,) each.
        counts: whole numbers, (n, 2¹⁵), added to.

    Returns:
        The largest magnitude's bits, as in `kernels.subtract_from_bfloat16`.
    """
    size = min(STRETCH, base.size)
    here, delta = np.empty(size, np.float32), np.empty(size, np.float32)
    bits, largest = delta.view(np.uint32), np.uint32(0)
    for start in range(0, base.size, STRETCH):
        stop = min(start + STRETCH, base.size)
        size = stop - start
        widen_bfloat16(base[start:stop], here.view(np.uint32)[:size])
        for t in range(len(experts)):
            magnitude = subtract_stretch(experts[t][start:stop], here[:size], delta[:size], bits[:size])
            largest = max(largest, magnitude)
            count_into_upper(bits[:size], counts[t])
    return largest


@compiled()
def count_into_upper(bits: np.ndarray, counts: np.ndarray) -> None:
    """Count the upper 15 bits of magnitudes, given as the bits of float32 (length,), into counts (2¹⁵,)."""
    for i in range(bits.size):
        counts[(bits[i] & MAGNITUDE) >> np.uint32(16)] += 1


@compiled()
def count_lower_bits(
    base: np.ndarray, experts: tuple[np.ndarray, ...], uppers: np.ndarray, counts: np.ndarray
) -> np.uint32:
    """Count the lower 16 bits of those magnitudes of experts − base that have the given upper bits.

    Args:
        base, experts: as in `count_upper_bits`.
        uppers: uint32, (n,).
        counts: whole numbers, (n, 2¹⁶), added to.
    """
    size = min(STRETCH, base.size)
    here, delta = np.empty(size, np.float32), np.empty(size, np.float32)
    bits, largest = delta.view(np.uint32), np.uint32(0)
    for start in range(0, base.size, STRETCH):
        stop = min(start + STRETCH, base.size)
        size = stop - start
        widen_bfloat16(base[start:stop], here.view(np.uint32)[:size])
        for t in range(len(experts)):
            magnitude = subtract_stretch(experts[t][start:stop], here[:size], delta[:size], bits[:size])
            largest = max(largest, magnitude)
            count_into_lower(bits[:size], uppers[t], counts[t])
    return largest


@compiled()
def count_into_lower(bits: np.ndarray, upper: np.uint32, counts: np.ndarray) -> None:
    """Count the lower 16 bits of those magnitudes that have the given upper bits, into counts (2¹⁶,)."""
    for i in range(bits.size):
        magnitude = bits[i] & MAGNITUDE
        if magnitude >> np.uint32(16) == upper:
            counts[magnitude & np.uint32(0xFFFF)] += 1


@compiled()
def trimmed_votes(
    base: np.ndarray,
    experts: tuple[np.ndarray, ...],
    bounds: tuple[np.ndarray, np.ndarray, np.ndarray],
    shares: np.ndarray,
    votes: np.ndarray,
) -> np.uint32:
    """Add how many entries elect + less how many elect − to votes, int64 (1,).

    Args:
        base, experts: as in `count_upper_bits`.
        bounds: as in `merge_trimmed`.
        shares: of each expert in the sum whose sign is elected, float32 (n,).
    """
    size = min(STRETCH, base.size)
    here, delta = np.empty(size, np.float32), np.empty(size, np.float32)
    total, bits = np.empty(size, np.float32), delta.view(np.uint32)
    largest = np.uint32(0)
    for start in range(0, base.size, STRETCH):
        stop = min(start + STRETCH, base.size)
        size = stop - start
        widen_bfloat16(base[start:stop], here.view(np.uint32)[:size])
        for t in range(len(experts)):
            magnitude = subtract_stretch(experts[t][start:stop], here[:size], delta[:size], bits[:size])
            largest = max(largest, magnitude)
            _trim(delta[:size], bounds, t, start, delta[:size])
            if t == 0:
                scale(delta[:size], shares[t], total[:size])
            else:
                add_scaled(total[:size], delta[:size], shares[t])
        votes[0] += _sum_of_signs(total[:size])
    return largest


@compiled()
def _sum_of_signs(numbers: np.ndarray) -> np.int32:
    total = np.int32(0)
    for i in range(numbers.size):
        total = np.int32(total + np.int32(numbers[i] > _ZERO) - np.int32(numbers[i] < _ZERO))
    return total


@compiled()
def _trim(
    numbers: np.ndarray,
    bounds: tuple[np.ndarray, np.ndarray, np.ndarray],
    t: int,
    start: int,
    out: np.ndarray,
) -> None:
    first, second, cuts = bounds
    cut = min(max(cuts[t] - start, 0), numbers.size)
    _keep_above(numbers[:cut], first[t], out[:cut])
    _keep_above(numbers[cut:], second[t], out[cut:])


@compiled()
def _keep_above(numbers: np.ndarray, bound: np.float32, out: np.ndarray) -> None:
    for i in range(out.size):
        out[i] = numbers[i] if abs(numbers[i]) > bound else _ZERO


@compiled()
def merge_trimmed(
    base: np.ndarray,
    experts: tuple[np.ndarray, ...],
    settings: tuple[Any, ...],
    out: np.ndarray,
    sums: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> np.uint32:
    """Write base + λ times the disjoint mean or sum of the trimmed experts − base, as TIES merges.

    Args:
        base, out: bfloat16 numbers as uint16, (length,).
        experts: the same, (length,) each.
        settings: bounds, shares, weights, parts, undecided, divided, scaling. The bounds are of each expert
            the magnitude above which its entries before a position are kept, float32 (n,); that for those
            from there on, (n,); and the position in the block, int64 (n,). Then of each expert its share in
            the vote, its factor in the sum and its part of the divisor, float32 (n,) each; the sign of votes
            of 0, float32; whether the sum is divided; and λ, float32.
        sums: float64, added to: of the merged delta (3,), as in `tally.Tally.result`; of each task vector
            (n, 4), as in `kernels.tally_beside`; and how many entries of it are kept, (n,).

    Returns:
        The largest magnitude's bits, as in `kernels.merge_linear`.
    """
    bounds, shares, weights, parts, undecided, divided, scaling = settings
    result, tasks, kept = sums
    size = min(STRETCH, base.size)
    here, merged, signs, divisor = (
        np.empty(size, np.float32),
        np.empty(size, np.float32),
        np.empty(size, np.float32),
        np.empty(size, np.float32),
    )
    deltas, left = np.empty((len(experts), size), np.float32), np.empty((len(experts), size), np.float32)
    here_bits, merged_bits = here.view(np.uint32), merged.view(np.uint32)
    delta_bits, left_bits = deltas.view(np.uint32), left.view(np.uint32)
    largest = np.uint32(0)
    for start in range(0, base.size, STRETCH):
        stop = min(start + STRETCH, base.size)
        size = stop - start
        widen_bfloat16(base[start:stop], here_bits[:size])
        for t in range(len(experts)):
            delta, bits, trimmed = deltas[t, :size], delta_bits[t, :size], left[t, :size]
            largest = max(largest, subtract_stretch(experts[t][start:stop], here[:size], delta, bits))
            _trim(delta, bounds, t, start, trimmed)
            kept[t] += count_nonzero(left_bits[t, :size])
            if t == 0:
                scale(trimmed, shares[t], signs[:size])
            else:
                add_scaled(signs[:size], trimmed, shares[t])
        _elect(signs[:size], undecided)
        merged[:size] = _ZERO
        divisor[:size] = _ZERO
        for t in range(len(experts)):
            _add_agreeing(left[t, :size], signs[:size], weights[t], merged[:size])
            if divided:
                _count_agreeing(left[t, :size], signs[:size], parts[t], divisor[:size])
        if divided:
            _divide(merged[:size], divisor[:size])
        _sign_and_scale(merged[:size], signs[:size], scaling)
        total = merged[:size], merged_bits[:size]
        magnitude = write_stretch(here[:size], total, out[start:stop], (deltas, delta_bits), (result, tasks))
        largest = max(largest, magnitude)
    return largest


@compiled()
def _elect(votes: np.ndarray, undecided: np.float32) -> None:
    """Set votes to their signs, those of 0 to `undecided`."""
    for i in range(votes.size):
        sign = _ONE if votes[i] > _ZERO else undecided
        votes[i] = -_ONE if votes[i] < _ZERO else sign


@compiled()
def _add_agreeing(numbers: np.ndarray, signs: np.ndarray, weight: np.float32, total: np.ndarray) -> None:
    for i in range(total.size):
        magnitude = numbers[i] * signs[i]
        total[i] += (magnitude if magnitude > _ZERO else _ZERO) * weight


@compiled()
def _count_agreeing(numbers: np.ndarray, signs: np.ndarray, part: np.float32, divisor: np.ndarray) -> None:
    for i in range(divisor.size):
        divisor[i] += part if numbers[i] * signs[i] > _ZERO else _ZERO


@compiled()
def _divide(numbers: np.ndarray, divisor: np.ndarray) -> None:
    for i in range(numbers.size):
        numbers[i] /= divisor[i] if divisor[i] > _SMALLEST else _SMALLEST


@compiled()
def _sign_and_scale(numbers: np.ndarray, signs: np.ndarray, scaling: np.float32) -> None:
    for i in range(numbers.size):
        numbers[i] = np.float32(numbers[i] * signs[i]) * scaling


@compiled()
def merge_dropped(
    base: np.ndarray,
    experts: tuple[np.ndarray, ...],
    settings: tuple[Any, ...],
    out: np.ndarray,
    sums: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> np.uint32:
    """Write base + λ Σ w_t m_t (experts_t − base) with masks m_t of chance, as DARE merges.

    Args:
        base, experts, out, sums: as in `merge_trimmed`.
        settings: below, keys, weights, scaling. Of each expert the bound below which the upper 31 bits of a
            word keep an entry, uint32 (n,); its `noise.word_key`, uint32 (n, 3); w, float32 (n,). And λ.
    """
    below, keys, weights, scaling = settings
    result, tasks, kept = sums
    size = min(STRETCH, base.size)
    here, merged, left = (
        np.empty(size, np.float32),
        np.empty(size, np.float32),
        np.empty(size, np.float32),
    )
    deltas = np.empty((len(experts), size), np.float32)
    here_bits, merged_bits, left_bits = here.view(np.uint32), merged.view(np.uint32), left.view(np.uint32)
    delta_bits = deltas.view(np.uint32)
    largest = np.uint32(0)
    for start in range(0, base.size, STRETCH):
        stop = min(start + STRETCH, base.size)
        size = stop - start
        widen_bfloat16(base[start:stop], here_bits[:size])
        for t in range(len(experts)):
            delta, bits = deltas[t, :size], delta_bits[t, :size]
            largest = max(largest, subtract_stretch(experts[t][start:stop], here[:size], delta, bits))
            key = np.uint32(keys[t, 0] + np.uint32(start)), keys[t, 1], keys[t, 2]
            _drop(bits, key, below[t], left_bits[:size])
            kept[t] += count_nonzero(left_bits[:size])
            if t == 0:
                scale(left[:size], weights[t], merged[:size])
            else:
                add_scaled(merged[:size], left[:size], weights[t])
        scale(merged[:size], scaling, merged[:size])
        total = merged[:size], merged_bits[:size]
        magnitude = write_stretch(here[:size], total, out[start:stop], (deltas, delta_bits), (result, tasks))
        largest = max(largest, magnitude)
    return largest


@compiled()
def _drop(bits: np.ndarray, key: tuple[np.uint32, ...], below: np.uint32, out: np.ndarray) -> None:
    """Keep the numbers whose words, from a key's position on, are below a bound; make the others 0."""
    begin, first, second = key
    for i in range(out.size):
        word = hashed(np.uint32(np.uint32(i) + begin), first, second)
        mask = np.uint32(0xFFFFFFFF) if np.uint32(word >> np.uint32(1)) < below else np.uint32(0)
        out[i] = bits[i] & mask
