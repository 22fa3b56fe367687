"""Loops over blocks in the CPU's memory, compiled once per machine: one pass where torch would need several.

They run without the interpreter's lock, so that as many blocks are worked on as there are cores, and go over
a block in stretches that stay in the first cache. On other devices the callers do the same with torch, and
the tests hold the two against each other.
"""

import numpy as np

from merging.checkpoints.compiled import add_scaled, bits_of, compiled, float_of, scale

STRETCH = 4096
"""Entries that a loop works on at a time."""
MAGNITUDE = np.uint32(0x7FFFFFFF)
_ONE = np.uint32(1)
INFINITY = int(np.float32(np.inf).view(np.uint32))
"""Bits of infinity, the least among those of magnitudes that are not finite."""


@compiled()
def widen_bfloat16(numbers: np.ndarray, out: np.ndarray) -> None:
    """Write bfloat16 numbers, given as uint16 (length,), as float32, given as uint32 (length,)."""
    for i in range(out.size):
        out[i] = np.uint32(numbers[i]) << np.uint32(16)


@compiled()
def subtract_from_bfloat16(
    weights: np.ndarray, base: np.ndarray, out: np.ndarray, bits: np.ndarray
) -> np.uint32:
    """Write weights − base in float32.

    Args:
        weights: bfloat16 numbers as uint16, (length,).
        base: float32, (length,).
        out: float32, (length,).
        bits: the memory of `out` as uint32.

    Returns:
        The largest magnitude's bits, which are less than infinity's where all differences are finite.
    """
    largest = np.uint32(0)
    for start in range(0, base.size, STRETCH):
        stop = start + STRETCH
        magnitude = subtract_stretch(weights[start:stop], base[start:stop], out[start:stop], bits[start:stop])
        largest = max(largest, magnitude)
    return largest


@compiled()
def subtract_stretch(weights: np.ndarray, base: np.ndarray, out: np.ndarray, bits: np.ndarray) -> np.uint32:
    """Do the same of a stretch that stays in the cache."""
    largest = np.uint32(0)
    for i in range(out.size):
        difference = float_of(np.uint32(np.uint32(weights[i]) << np.uint32(16))) - base[i]
        out[i] = difference
        largest = max(largest, bits_of(difference) & MAGNITUDE)
    return largest


@compiled()
def weighted_sum(numbers: np.ndarray, weights: np.ndarray, out: np.ndarray) -> None:
    """Write Σ weights · numbers of (n,) and (n, length), each product and each sum rounded by itself."""
    for start in range(0, out.size, STRETCH):
        total = out[start : start + STRETCH]
        scale(numbers[0, start : start + STRETCH], weights[0], total)
        for t in range(1, len(numbers)):
            add_scaled(total, numbers[t, start : start + STRETCH], weights[t])


@compiled(fastmath=True)
def add_scaled_differences(
    base: np.ndarray, experts: tuple[np.ndarray, ...], weights: np.ndarray, out: np.ndarray
) -> None:
    """Write base + Σ weights · (experts − base), all float32 (length,), rounded as is fastest."""
    for start in range(0, out.size, STRETCH):
        here, total = base[start : start + STRETCH], out[start : start + STRETCH]
        total[:] = here
        for t in range(len(experts)):
            _add_scaled_difference(total, experts[t][start : start + STRETCH], here, weights[t])


@compiled(fastmath=True)
def _add_scaled_difference(
    total: np.ndarray, numbers: np.ndarray, others: np.ndarray, factor: np.float32
) -> None:
    for i in range(total.size):
        total[i] += factor * (numbers[i] - others[i])


@compiled(fastmath=True)
def products_with_differences(
    base: np.ndarray, experts: tuple[np.ndarray, ...], factors: np.ndarray, out: np.ndarray
) -> None:
    """Add Σ factors · (expert − base) of every expert to out, float64 (n,), in stretches of float32."""
    for start in range(0, base.size, STRETCH):
        here, here_factors = base[start : start + STRETCH], factors[start : start + STRETCH]
        for t in range(len(experts)):
            out[t] += _product_with_difference(experts[t][start : start + STRETCH], here, here_factors)


@compiled(fastmath=True)
def _product_with_difference(numbers: np.ndarray, others: np.ndarray, factors: np.ndarray) -> np.float32:
    total = np.float32(0)
    for i in range(factors.size):
        total += factors[i] * (numbers[i] - others[i])
    return total


@compiled()
def add_into_bfloat16(base: np.ndarray, delta: np.ndarray, out: np.ndarray, lost: np.ndarray) -> np.uint32:
    """Write base + delta, added in float32, as bfloat16, to the nearest and of two to the even one.

    Args:
        base, delta: float32, (length,).
        out: uint16, (length,).
        lost: float64, (1,); Σ (out − base − delta)² is added to it.

    Returns:
        The largest magnitude's bits before and after rounding, less than infinity's where all are finite.
    """
    numbers = np.empty(min(STRETCH, base.size), np.float32)
    largest = np.uint32(0)
    for start in range(0, base.size, STRETCH):
        stop = start + STRETCH
        here, step, left = base[start:stop], delta[start:stop], numbers[: min(STRETCH, base.size - start)]
        largest = max(largest, _add_stretch(here, step, out[start:stop], left))
        lost[0] += squares(left)
    return largest


@compiled()
def _add_stretch(base: np.ndarray, delta: np.ndarray, out: np.ndarray, lost: np.ndarray) -> np.uint32:
    """Do the same of a stretch, and write what is lost of each entry, float32."""
    largest = np.uint32(0)
    for i in range(lost.size):
        exact = bits_of(base[i] + delta[i])
        odd = np.uint32(exact >> np.uint32(16)) & np.uint32(1)
        rounded = np.uint32(np.uint32(exact + np.uint32(0x7FFF)) + odd) & np.uint32(0xFFFF0000)
        largest = max(largest, exact & MAGNITUDE, rounded & MAGNITUDE)
        out[i] = np.uint16(rounded >> np.uint32(16))
        lost[i] = float_of(np.uint32(rounded)) - base[i] - delta[i]
    return largest


@compiled()
def count_nonzero(bits: np.ndarray) -> np.uint32:
    """Return how many of some float32, given as their bits (length,), are not 0."""
    count = np.uint32(0)
    for i in range(bits.size):
        count = np.uint32(count + min(bits[i] & MAGNITUDE, _ONE))
    return count


@compiled()
def sum_squares(values: np.ndarray) -> np.float64:
    """Return Σ value² of float32 (length,)."""
    total = np.float64(0)
    for start in range(0, values.size, STRETCH):
        total += squares(values[start : start + STRETCH])
    return total


@compiled()
def tally_beside(values: np.ndarray, bits: np.ndarray, other: np.ndarray, out: np.ndarray) -> None:
    """Add to out what there is about each row of some values, beside one other.

    Σ value², how many are not 0, in how many entries neither is 0, and in how many both have one sign.

    Args:
        values: float32, (n, length).
        bits: the same memory as uint32.
        other: bits of float32, (length,).
        out: float64, (n, 4).
    """
    for start in range(0, other.size, STRETCH):
        stop = start + STRETCH
        for t in range(len(values)):
            tally_stretch(values[t, start:stop], bits[t, start:stop], other[start:stop], out[t])


@compiled(fastmath={"reassoc", "nsz"})
def tally_stretch(values: np.ndarray, bits: np.ndarray, other: np.ndarray, out: np.ndarray) -> None:
    """Add to out, (4,), what `tally_beside` says of one row in one stretch."""
    total = np.float32(0)
    changed, both, alike = np.uint32(0), np.uint32(0), np.uint32(0)
    for i in range(values.size):
        total += values[i] * values[i]
        here = bits[i] & MAGNITUDE
        changed = np.uint32(changed + min(here, _ONE))
        moves = min(np.uint32(min(here, other[i] & MAGNITUDE)), _ONE)
        both = np.uint32(both + moves)
        same = np.uint32(np.uint32(~(bits[i] ^ other[i])) >> np.uint32(31))
        alike = np.uint32(alike + np.uint32(moves & same))
    out[0] += total
    out[1] += changed
    out[2] += both
    out[3] += alike


@compiled(fastmath={"reassoc", "nsz"})
def squares(values: np.ndarray) -> np.float32:
    """Return Σ value² of float32 values of one stretch, in float32."""
    total = np.float32(0)
    for i in range(values.size):
        total += values[i] * values[i]
    return total


@compiled()
def merge_linear(
    base: np.ndarray,
    experts: tuple[np.ndarray, ...],
    coefficients: np.ndarray,
    out: np.ndarray,
    sums: tuple[np.ndarray, np.ndarray],
) -> np.uint32:
    """Write base + Σ coefficients_t · (experts_t − base), with all but the sums in bfloat16, given as uint16.

    Args:
        base, out: (length,).
        experts: (length,) each.
        coefficients: float32, (n,).
        sums: float64, added to: of the merged delta (3,), as in `tally.Tally.result`, and of each task
            vector (n, 4), as in `tally_beside`.

    Returns:
        The largest magnitude's bits, as in `subtract_from_bfloat16` and `add_into_bfloat16`.
    """
    result, tasks = sums
    size = min(STRETCH, base.size)
    here, merged = np.empty(size, np.float32), np.empty(size, np.float32)
    deltas = np.empty((len(experts), size), np.float32)
    here_bits, merged_bits, delta_bits = here.view(np.uint32), merged.view(np.uint32), deltas.view(np.uint32)
    largest = np.uint32(0)
    for start in range(0, base.size, STRETCH):
        stop = min(start + STRETCH, base.size)
        size = stop - start
        widen_bfloat16(base[start:stop], here_bits[:size])
        for t in range(len(experts)):
            # Rows one by one: the compiler makes no vectors of a part of several rows.
            delta, bits = deltas[t, :size], delta_bits[t, :size]
            largest = max(largest, subtract_stretch(experts[t][start:stop], here[:size], delta, bits))
            if t == 0:
                scale(delta, coefficients[t], merged[:size])
            else:
                add_scaled(merged[:size], delta, coefficients[t])
        total = merged[:size], merged_bits[:size]
        magnitude = write_stretch(here[:size], total, out[start:stop], (deltas, delta_bits), (result, tasks))
        largest = max(largest, magnitude)
    return largest


@compiled()
def write_stretch(
    base: np.ndarray,
    merged: tuple[np.ndarray, np.ndarray],
    out: np.ndarray,
    deltas: tuple[np.ndarray, np.ndarray],
    sums: tuple[np.ndarray, np.ndarray],
) -> np.uint32:
    """Write base + merged delta of a stretch in bfloat16, and add to the sums of `merge_linear`.

    Args:
        base: float32, (length,).
        merged: float32, (length,), and the same memory as uint32.
        out: bfloat16 numbers as uint16, (length,).
        deltas: the task vectors, float32, (n, length or more), and the same memory as uint32.
        sums: as in `merge_linear`.

    Returns:
        The largest magnitude's bits, as in `add_into_bfloat16`.
    """
    delta, delta_bits = merged
    vectors, vector_bits = deltas
    result, tasks = sums
    largest = add_into_bfloat16(base, delta, out, result[2:])
    result[0] += squares(delta)
    result[1] += count_nonzero(delta_bits)
    for t in range(len(tasks)):
        tally_stretch(vectors[t, : base.size], vector_bits[t, : base.size], delta_bits, tasks[t])
    return largest
