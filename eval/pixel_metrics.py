"""Pixel metrics of anomaly maps: exact AUROC, AP, F1-max and AUPRO in one go, in bounded memory.

Two passes over the images: the first holds the scores of the defect pixels, the second sorts the other pixels in
blocks and counts them against the defect scores (`eval.ranking`). AUPRO comes from the same counts: the PRO curve
only rises at defect scores, so its integral is a sum over them, each weighted by 1 / (area of its region).
The result does not depend on the order of the images nor on the size of the blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from data.errors import UserError
from eval.ranking import RankCounts, RankingMetrics, count_ranks, rank_metrics

AUPRO_LIMIT = 0.3  # of the false-positive rate: the value every published AUPRO uses
BLOCK_PIXELS = 50 * 512 * 512

MapArray = NDArray[np.floating]  # (H, W), higher is worse


@dataclass(frozen=True, slots=True)
class ScoredImage:
    """One image to score.

    Attributes:
        name: Named in error messages.
        anomaly_map: (H, W) floating point, higher is worse; ±inf is allowed, NaN is not.
        mask: (H, W) bool, True on the defect.
    """

    name: str
    anomaly_map: MapArray
    mask: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelMetrics(RankingMetrics):
    """Pixel metrics of one category, as fractions in [0, 1]; see `RankingMetrics` for what None means.

    Attributes:
        aupro: Mean over defect regions of the area under overlap against false-positive rate, up to the limit and
            divided by it. A region is an 8-connected component of one mask.
        defect_pixels: Number of defect pixels.
        pixels: Number of pixels.
        images: Number of images.
    """

    aupro: float | None = None
    defect_pixels: int
    pixels: int
    images: int


def pixel_metrics(
    images: Iterable[ScoredImage], *, aupro_limit: float = AUPRO_LIMIT, block_pixels: int = BLOCK_PIXELS
) -> PixelMetrics:
    """Scores the anomaly maps of one category.

    Args:
        images: The images; iterated twice, so a list or an object that loads lazily on each iteration.
        aupro_limit: Upper limit of the false-positive rate in AUPRO, in (0, 1].
        block_pixels: Negatives are sorted in blocks of about this many pixels (at least one image): the memory bound.

    Raises:
        UserError: If a map has a NaN, is not floating point, or differs in shape from its mask.
        ValueError: If the limit is out of range, or `images` can be iterated only once.
    """
    if not 0 < aupro_limit <= 1:
        raise ValueError(f"aupro_limit must be in (0, 1], not {aupro_limit}.")
    if iter(images) is images:
        raise ValueError("images is an iterator, which is used up after one pass: give a list.")
    found = _collect(images)
    defect_pixels = len(found.positives)
    if reason := found.undefined():
        return PixelMetrics(reason=reason, defect_pixels=defect_pixels, pixels=found.pixels, images=found.images)
    positives, weights = _sort_positives(found.positives, found.weights / found.regions)
    counts = count_ranks(positives, _negative_blocks(images, found.dtype, block_pixels))
    metrics = rank_metrics(counts)
    return PixelMetrics(
        auroc=metrics.auroc,
        ap=metrics.ap,
        f1_max=metrics.f1_max,
        f1_threshold=metrics.f1_threshold,
        aupro=_aupro(counts, weights, aupro_limit),
        defect_pixels=defect_pixels,
        pixels=found.pixels,
        images=found.images,
    )


@dataclass(slots=True)
class _Found:
    """What the first pass finds: defect scores (P,), 1 / area of the region of each (P,), and totals."""

    positives: MapArray
    weights: NDArray[np.float64]
    regions: int
    pixels: int
    images: int
    constant: bool
    dtype: np.dtype[np.floating]

    def undefined(self) -> str | None:
        """Why the metrics have no value, if so."""
        if not len(self.positives):
            return "no defect pixel"
        if len(self.positives) == self.pixels:
            return "every pixel is defect"
        return "all scores are equal" if self.constant else None


def _collect(images: Iterable[ScoredImage]) -> _Found:
    positives: list[MapArray] = []
    weights: list[NDArray[np.float64]] = []
    regions = pixels = count = 0
    low, high = np.inf, -np.inf
    dtype: np.dtype[np.floating] = np.dtype(np.float32)
    for image in images:
        least, greatest = _check(image)
        low, high = min(low, least), max(high, greatest)
        dtype = np.promote_types(dtype, image.anomaly_map.dtype)
        pixels += image.mask.size
        count += 1
        where, inverse_area, found = _region_weights(image.mask)
        if found:
            positives.append(image.anomaly_map[where])
            weights.append(inverse_area)
            regions += found
    return _Found(
        np.concatenate(positives).astype(dtype, copy=False) if positives else np.empty(0, dtype),
        np.concatenate(weights) if weights else np.empty(0),
        regions,
        pixels,
        count,
        low == high,
        dtype,
    )


def _check(image: ScoredImage) -> tuple[float, float]:
    """Least and greatest score of a valid image."""
    anomaly_map, mask = image.anomaly_map, image.mask
    if anomaly_map.shape != mask.shape or anomaly_map.ndim != 2:
        raise UserError(f"Anomaly map {anomaly_map.shape} and mask {mask.shape} differ in shape: {image.name}.")
    if not np.issubdtype(anomaly_map.dtype, np.floating) or mask.dtype != np.bool_:
        raise UserError(
            f"The anomaly map must be floating point and the mask bool, not {anomaly_map.dtype} and {mask.dtype}: "
            f"{image.name}."
        )
    if not anomaly_map.size:
        raise UserError(f"Empty anomaly map: {image.name}.")
    least, greatest = float(anomaly_map.min()), float(anomaly_map.max())
    if np.isnan(least):  # a minimum propagates NaN
        count = int(np.isnan(anomaly_map).sum())
        raise UserError(f"The anomaly map has {count} NaN values: {image.name}. The model or its input is broken.")
    return least, greatest


def _region_weights(mask: NDArray[np.bool_]) -> tuple[tuple[slice | NDArray, ...], NDArray[np.float64], int]:
    """Index of the defect pixels, 1 / area of the region of each, and the number of regions."""
    left, top, width, height = cv2.boundingRect(np.ascontiguousarray(mask).view(np.uint8))
    window = mask[top : top + height, left : left + width]
    if not window.size:
        return (), np.empty(0), 0
    count, labels = cv2.connectedComponents(window.astype(np.uint8), connectivity=8, ltype=cv2.CV_32S)
    rows, columns = np.nonzero(window)
    region = labels[rows, columns]
    return (rows + top, columns + left), 1 / np.bincount(region, minlength=count)[region], count - 1


def _sort_positives(scores: MapArray, weights: NDArray[np.float64]) -> tuple[MapArray, NDArray[np.float64]]:
    """Sorts by score, tied scores by weight, so that sums do not depend on the order of the images."""
    order = np.argsort(scores)
    scores, weights = scores[order], weights[order]
    same = scores[1:] == scores[:-1]
    if same.any():
        tied = np.flatnonzero(np.r_[same, False] | np.r_[False, same])
        weights[tied] = weights[tied[np.lexsort((weights[tied], scores[tied]))]]
    return scores, weights


def _negative_blocks(
    images: Iterable[ScoredImage], dtype: np.dtype[np.floating], block_pixels: int
) -> Iterator[MapArray]:
    """Sorted scores of the pixels without defect, block by block.

    Defect pixels become -inf, sort to the front and are cut off there: cheaper than selecting the others.
    """
    buffer = np.empty(0, dtype)
    filled = defects = 0
    for image in images:
        size = image.mask.size
        if filled and filled + size > block_pixels:
            yield _sorted_negatives(buffer[:filled], defects)
            filled = defects = 0
        if filled + size > len(buffer):
            grown = np.empty(max(filled + size, min(2 * len(buffer), block_pixels)), dtype)
            grown[:filled] = buffer[:filled]
            buffer = grown
        part = buffer[filled : filled + size]
        part[:] = image.anomaly_map.ravel()
        np.putmask(part, image.mask.ravel(), -np.inf)
        filled += size
        defects += int(np.count_nonzero(image.mask))
    if filled:
        yield _sorted_negatives(buffer[:filled], defects)


def _sorted_negatives(block: MapArray, defects: int) -> MapArray:
    block.sort()
    return block[defects:]


def _aupro(counts: RankCounts, weights: NDArray[np.float64], limit: float) -> float:
    """Integrates the PRO curve up to the limit: each distinct defect score lifts it linearly over one segment."""
    lift = np.add.reduceat(weights, counts.starts)
    start = (counts.negatives - counts.not_above) / counts.negatives
    end = (counts.negatives - counts.below) / counts.negatives
    width = np.where(end > start, end - start, 1.0)
    cut = np.where(start < limit, (limit - start) ** 2 / (2 * width), 0.0)
    area = np.where(end <= limit, limit - (start + end) / 2, cut)
    return float((lift * area).sum() / limit)
