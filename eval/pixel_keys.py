"""Order-preserving integer keys of float32 scores, and the loops that count them.

The bits of a positive float32, read as an integer, grow with the value: equal steps of the key are equal steps of its
logarithm, roughly. Three changes make them the keys of anomaly scores:
- Negative values: all bits but the sign are flipped, so that larger is larger. -0.0 gets the key of 0.0.
- From 0.5 to 1 the key counts down the bits of 1 - x (exact in float32): a saturated sigmoid crowds its scores just
  below 1, where the plain bits are coarse.
- From 1 on, the plain bits again, moved up; 1.0 starts a bin of its own at every shift up to 12, the most there is.
Different scores have different keys. NaN lies beyond the keys of ±inf.

A histogram counts key >> shift modulo its number of bins: no origin to move while the keys span fewer bins than that.
The loops are compiled with numba where it is installed; plain NumPy gives the same counts, several times slower.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 1 << 20
_HALF, _ONE, _STEP = 0x3F000000, 0x3F800000, 0x33800000  # bits of 0.5, of 1 and of 2⁻²⁴, the step below 1
_ONE_KEY = 2 * _HALF - _STEP + 0x1000
PLUS_INF = 0x7F800000 - _ONE + _ONE_KEY
MINUS_INF = -0x7F800001

Scores = NDArray[np.float32]  # (n,), contiguous
Keys = NDArray[np.int64]  # (n,)
Table = NDArray[np.int64]  # (BINS,)


def keys_of(scores: Scores) -> Keys:
    """Keys of scores."""
    bits = scores.view(np.int32).astype(np.int64)
    keys = np.where(bits < 0, ~(bits & 0x7FFFFFFF), bits)
    keys[scores == 0] = 0
    near = (bits >= _HALF) & (bits < _ONE)
    keys[near] = 2 * _HALF - (np.float32(1) - scores[near]).view(np.int32)
    keys[bits >= _ONE] += _ONE_KEY - _ONE
    return keys


def scores_of(keys: Keys) -> Scores:
    """The least scores whose keys are not below the given ones, (n,)."""
    bits = np.where(keys < 0, (~keys) | -0x80000000, keys)
    bits = np.where(keys >= _ONE_KEY, keys - _ONE_KEY + _ONE, bits)
    near = (keys >= _HALF) & (keys < _ONE_KEY)
    bits[near] = _ONE
    scores = bits.astype(np.int32).view(np.float32)
    inverse = np.maximum(2 * _HALF - keys[near], 0).astype(np.int32).view(np.float32)
    rest = np.float32(1) - inverse
    short = keys_of(rest) < keys[near]
    rest[short] = np.nextafter(rest[short], np.float32(2))
    scores[near] = rest
    return scores


def key_range(scores: Scores) -> tuple[int, int]:
    """Least and greatest key of at least one score."""
    if loops := _compiled():
        low, high = loops[2](scores, scores.view(np.int32))
        return int(low), int(high)
    keys = keys_of(scores)
    return int(keys.min()), int(keys.max())


def count_keys(scores: Scores, shift: int, table: Table) -> None:
    """Adds 1 to the bin of each score.

    Args:
        scores: The scores.
        shift: Keys that agree without their lowest `shift` bits share a bin.
        table: Counts, changed in place.
    """
    if loops := _compiled():
        loops[0](scores, scores.view(np.int32), shift, table)
        return
    for start in range(0, len(scores), BINS >> 3):
        counts = np.bincount((keys_of(scores[start : start + (BINS >> 3)]) >> shift) & (BINS - 1))
        table[: len(counts)] += counts


def weigh_keys(scores: Scores, weights: Table, shift: int, counts: Table, sums: Table) -> None:
    """Adds 1 to `counts` and the weight to `sums` in the bin of each score.

    Args:
        scores: The scores.
        weights: Integer weight of each score, (n,).
        shift: Keys that agree without their lowest `shift` bits share a bin.
        counts: Counts, changed in place.
        sums: Sums of weights, changed in place.
    """
    if loops := _compiled():
        loops[1](scores, scores.view(np.int32), weights, shift, counts, sums)
        return
    bins = (keys_of(scores) >> shift) & (BINS - 1)
    np.add.at(counts, bins, 1)
    np.add.at(sums, bins, weights)


@cache
def _compiled() -> tuple[Callable[..., Any], ...] | None:
    """The three loops as machine code; None without numba."""
    try:
        from numba import njit
    except ImportError:
        return None

    mask, unit = np.int64(BINS - 1), np.float32(1)

    @njit(inline="always")
    def key_at(score: Any, bits: Any) -> Any:
        key = np.int64(bits)
        if bits < 0:
            return ~(key & 0x7FFFFFFF) if score != 0 else np.int64(0)
        if bits < _HALF:
            return key
        if bits < _ONE:
            return np.int64(2 * _HALF) - np.int64(np.float32(unit - score).view(np.int32))
        return key + (_ONE_KEY - _ONE)

    def count(scores: Scores, bits: NDArray[np.int32], shift: int, table: Table) -> None:
        for i in range(scores.size):
            table[(key_at(scores[i], bits[i]) >> shift) & mask] += 1

    def weigh(scores: Scores, bits: NDArray[np.int32], weights: Table, shift: int, counts: Table, sums: Table) -> None:
        for i in range(scores.size):
            place = (key_at(scores[i], bits[i]) >> shift) & mask
            counts[place] += 1
            sums[place] += weights[i]

    def extent(scores: Scores, bits: NDArray[np.int32]) -> tuple[int, int]:
        low = high = key_at(scores[0], bits[0])
        for i in range(scores.size):
            key = key_at(scores[i], bits[i])
            low, high = min(low, key), max(high, key)
        return low, high

    return tuple(njit(nogil=True)(loop) for loop in (count, weigh, extent))
