"""The exact engine of the pixel metrics: every pair of a defect pixel and another pixel is ranked, in bounded memory.

Two passes over the images: the first holds the scores of the defect pixels, the second sorts the other pixels in
blocks and counts them against the defect scores (`eval.metrics.ranking`). AUPRO comes from the same counts: the PRO
curve only rises at defect scores, so its integral is a sum over them, each weighted by 1 / (area of its region).
The result does not depend on the order of the images nor on the size of the blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eval.metrics.ranking import RankCounts, count_ranks
from eval.metrics.scores import MapArray, ScoredImage, check_image, find_regions, map_range, undefined_reason

BLOCK_PIXELS = 50 * 512 * 512


@dataclass(slots=True)
class ExactCounts:
    """What the exact engine found.

    Attributes:
        ranks: Counts at each distinct defect score; None where `reason` says why.
        lift: Share of all regions that each distinct defect score adds to the overlap, (V,); sums to 1.
        pixels: Number of pixels.
        defect_pixels: Number of defect pixels.
        images: Number of images.
        flagged: Pixels at or above the threshold; 0 without one.
        hits: Defect pixels at or above the threshold; 0 without one.
        reason: Why the metrics have no value, if so.
    """

    ranks: RankCounts | None
    lift: NDArray[np.float64]
    pixels: int
    defect_pixels: int
    images: int
    flagged: int
    hits: int
    reason: str | None


def count_exactly(
    images: Iterable[ScoredImage], *, threshold: float | None = None, block_pixels: int = BLOCK_PIXELS
) -> ExactCounts:
    """Ranks the pixels of one category.

    Args:
        images: The images; iterated twice.
        threshold: Scores at or above it are counted as flagged; None counts none.
        block_pixels: Negatives are sorted in blocks of about this many pixels (at least one image): the memory bound.

    Raises:
        UserError: If a map has a NaN, is not floating point, or differs in shape from its mask.
    """
    found = _collect(images, threshold)
    defect_pixels = len(found.positives)
    reason = undefined_reason(defect_pixels, found.pixels, found.constant)
    ranks, lift = None, np.empty(0)
    if reason is None:
        positives, weights = _sort_positives(found.positives, found.weights / found.regions)
        ranks = count_ranks(positives, _negative_blocks(images, found, block_pixels))
        lift = np.add.reduceat(weights, ranks.starts)
    return ExactCounts(ranks, lift, found.pixels, defect_pixels, found.images, found.flagged, found.hits, reason)


@dataclass(slots=True)
class _Found:
    """What the first pass finds: defect scores (P,), 1 / area of the region of each (P,), and totals.

    `largest` is the number of pixels of the largest image.
    """

    positives: MapArray
    weights: NDArray[np.float64]
    regions: int
    pixels: int
    largest: int
    images: int
    flagged: int
    hits: int
    constant: bool
    dtype: np.dtype[np.floating]


def _collect(images: Iterable[ScoredImage], threshold: float | None) -> _Found:
    positives: list[MapArray] = []
    weights: list[NDArray[np.float64]] = []
    regions = pixels = largest = count = flagged = 0
    low, high = np.inf, -np.inf
    dtype: np.dtype[np.floating] = np.dtype(np.float32)
    for image in images:
        check_image(image)
        least, greatest = map_range(image.anomaly_map, image.name)
        low, high = min(low, least), max(high, greatest)
        dtype = np.promote_types(dtype, image.anomaly_map.dtype)
        pixels += image.mask.size
        largest = max(largest, image.mask.size)
        count += 1
        if threshold is not None:
            flagged += int(np.count_nonzero(image.anomaly_map >= threshold))
        if found := find_regions(image.mask):
            positives.append(image.anomaly_map.reshape(-1)[found.index])
            weights.append(1 / found.area)
            regions += found.count
    scores = np.concatenate(positives).astype(dtype, copy=False) if positives else np.empty(0, dtype)
    hits = 0 if threshold is None else int(np.count_nonzero(scores >= threshold))
    weight = np.concatenate(weights) if weights else np.empty(0)
    return _Found(scores, weight, regions, pixels, largest, count, flagged, hits, low == high, dtype)


def _sort_positives(scores: MapArray, weights: NDArray[np.float64]) -> tuple[MapArray, NDArray[np.float64]]:
    """Sorts by score, tied scores by weight, so that sums do not depend on the order of the images."""
    order = np.argsort(scores)
    scores, weights = scores[order], weights[order]
    same = scores[1:] == scores[:-1]
    if same.any():
        tied = np.flatnonzero(np.r_[same, False] | np.r_[False, same])
        weights[tied] = weights[tied[np.lexsort((weights[tied], scores[tied]))]]
    return scores, weights


def _negative_blocks(images: Iterable[ScoredImage], found: _Found, block_pixels: int) -> Iterator[MapArray]:
    """Sorted scores of the pixels without defect, block by block.

    Defect pixels become -inf, sort to the front and are cut off there: cheaper than selecting the others.
    """
    buffer = np.empty(min(found.pixels, max(block_pixels, found.largest)), found.dtype)
    filled = defects = 0
    for image in images:
        size = image.mask.size
        if filled and filled + size > block_pixels:
            yield _sorted_negatives(buffer[:filled], defects)
            filled = defects = 0
        part = buffer[filled : filled + size]
        part[:] = image.anomaly_map.ravel()
        filled += size
        if count := int(np.count_nonzero(image.mask)):
            np.putmask(part, image.mask.ravel(), -np.inf)
            defects += count
    if filled:
        yield _sorted_negatives(buffer[:filled], defects)


def _sorted_negatives(block: MapArray, defects: int) -> MapArray:
    block.sort()
    return block[defects:]
