"""Order-preserving integer keys of float32 scores, and the loops that count them.

The bits of a positive float32, read as an integer, grow with the value: equal steps of the key are equal steps of its
logarithm, roughly. Three changes make them the keys of anomaly scores:
- Negative values: all bits but the sign are flipped, so that larger is larger. -0.0 gets the key of 0.0.
- From 0.5 to 1 the key counts down the bits of 1 - x (exact in float32): a saturated sigmoid crowds its scores just
  below 1, where the plain bits are coarse.
- From 1 on, the plain bits again, moved up; 1.0 starts a bin of its own at every shift up to 14, the most there is.
Different scores have different keys. NaN lies beyond the keys of ±inf.

A histogram counts key >> shift modulo its number of bins: no origin to move while the keys span fewer bins than that.
The loops are compiled with numba where it is installed; plain NumPy gives the same counts, several times slower.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

BINS = 1 << 19
CHUNK = 1 << 16  # scores at a time: their bins stay in the cache
_HALF, _ONE, _STEP = 0x3F000000, 0x3F800000, 0x33800000  # bits of 0.5, of 1 and of 2⁻²⁴, the step below 1
_ONE_KEY = 2 * _HALF - _STEP + 0x4000

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


def count_keys(scores: Scores, shift: int, table: Table) -> None:
    """Adds 1 to the bin of each score.

    Args:
        scores: The scores.
        shift: Keys that agree without their lowest `shift` bits share a bin.
        table: Counts, changed in place.
    """
    loops = _compiled()
    for start in range(0, len(scores), CHUNK):
        bins = bins_of(scores[start : start + CHUNK], shift)
        if loops:
            loops[1](bins, table)
        else:
            counts = np.bincount(bins)
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
    bins = bins_of(scores, shift)
    if loops := _compiled():
        loops[2](bins, weights, counts, sums)
    else:
        np.add.at(counts, bins, 1)
        np.add.at(sums, bins, weights)


def bins_of(scores: Scores, shift: int) -> NDArray[np.uint32]:
    """The bin of each score, (n,): its key without the lowest bits, modulo the number of bins."""
    if loops := _compiled():
        bins = np.empty(len(scores), np.uint32)
        loops[0](scores, scores.view(np.int32), shift, bins)
        return bins
    return ((keys_of(scores) >> shift) & (BINS - 1)).astype(np.uint32)


@cache
def _compiled() -> tuple[Callable[..., None], ...] | None:
    """The loops of `bins_of`, `count_keys` and `weigh_keys` as machine code; None without numba."""
    try:
        from numba import njit
    except ImportError:
        return None

    def place(scores: Scores, bits: NDArray[np.int32], shift: int, bins: NDArray[np.uint32]) -> None:
        for i in range(scores.size):  # without branches: all cases are computed, one is taken
            b = np.int64(bits[i])
            near = np.int64(np.float32(np.float32(1) - scores[i]).view(np.int32))
            below = ~(b & 0x7FFFFFFF)
            below = below + (below == -1)  # -0.0
            key = 2 * _HALF - near if b >= _HALF else b
            key = b + (_ONE_KEY - _ONE) if b >= _ONE else key
            key = below if b < 0 else key
            bins[i] = (key >> shift) & (BINS - 1)

    def count(bins: NDArray[np.uint32], table: Table) -> None:
        for i in range(bins.size):
            table[bins[i]] += 1

    def weigh(bins: NDArray[np.uint32], weights: Table, counts: Table, sums: Table) -> None:
        for i in range(bins.size):
            counts[bins[i]] += 1
            sums[bins[i]] += weights[i]

    return tuple(njit(nogil=True)(loop) for loop in (place, count, weigh))
