"""Pixel metrics of anomaly maps: AUROC, AP, F1-max, AUPRO and IoU of one category, by one of two engines.

`exact` ranks every pixel (`eval.metrics.exact`); `streaming` counts them in a histogram of constant size and brackets
each figure (`eval.metrics.histogram`). Neither depends on the order of the images. Ties are taken as scikit-learn does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from eval.metrics.brackets import Bracket, bracket_figures, rank_bins
from eval.metrics.exact import BLOCK_PIXELS, ExactCounts, count_exactly
from eval.metrics.histogram import PixelHistogram
from eval.metrics.ranking import RankCounts, RankingMetrics, choose_cuts, integrate_overlap, rank_metrics
from eval.metrics.scores import MapArray, ScoredImage, undefined_reason

__all__ = ["AUPRO_LIMIT", "Engine", "MapArray", "PixelMetrics", "ScoredImage", "pixel_metrics", "read_histogram"]

AUPRO_LIMIT = 0.3  # of the false-positive rate: the value every published AUPRO uses


class Engine(Enum):
    """How pixels are ranked.

    Attributes:
        exact: To the last pair; holds the defect scores and one block of others in memory; two passes.
        streaming: In bins; constant memory, one pass, mergeable; each figure with a bracket that holds the exact one.
    """

    exact = "exact"
    streaming = "streaming"


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelMetrics(RankingMetrics):
    """Pixel metrics of one category, as fractions in [0, 1]; see `RankingMetrics` for what None means.

    Attributes:
        aupro: Mean over defect regions of the area under overlap against false-positive rate, up to the limit and
            divided by it. A region is an 8-connected component of one mask.
        iou: Intersection over union of mask and flagged pixels, over all images together, at the given threshold;
            None without a threshold, or where nothing is defect and nothing flagged. It needs no ranking, so it may
            have a value where the others have none.
        brackets: Metric → least and greatest value that the counts allow, from `streaming`; empty from `exact`.
        defect_pixels: Number of defect pixels.
        pixels: Number of pixels.
        images: Number of images.
        cuts: Scores that cut the pixels into parts alike (`choose_cuts`); empty where none were asked for.
    """

    aupro: float | None = None
    iou: float | None = None
    brackets: dict[str, Bracket]
    defect_pixels: int
    pixels: int
    images: int
    cuts: NDArray[np.float64] = field(default_factory=lambda: np.empty(0), compare=False, repr=False)


def pixel_metrics(
    images: Iterable[ScoredImage],
    *,
    engine: Engine = Engine.exact,
    aupro_limit: float = AUPRO_LIMIT,
    iou_threshold: float | None = None,
    block_pixels: int = BLOCK_PIXELS,
    cuts: int = 0,
) -> PixelMetrics:
    """Scores the anomaly maps of one category.

    Args:
        images: The images; the exact engine iterates twice: a list, or an object that loads lazily on each iteration.
        engine: How pixels are ranked.
        aupro_limit: Upper limit of the false-positive rate in AUPRO, in (0, 1].
        iou_threshold: Scores at or above it are flagged, for the IoU.
        block_pixels: Memory bound of the exact engine: it sorts about this many pixels at a time (at least one image).
        cuts: At most so many cuts are chosen; 0 chooses none.

    Raises:
        UserError: If a map has a NaN, is not floating point, or differs in shape from its mask.
        ValueError: If the limit is out of range, or the exact engine gets an iterator.
    """
    _check_limit(aupro_limit)
    if engine is Engine.streaming:
        histogram = PixelHistogram(threshold=iou_threshold)
        for image in images:
            histogram.add(image)
        return read_histogram(histogram, aupro_limit=aupro_limit, cuts=cuts)
    if iter(images) is images:
        raise ValueError("images is an iterator, which is used up after one pass: give a list.")
    found = count_exactly(images, threshold=iou_threshold, block_pixels=block_pixels)
    iou = _overlap(found, iou_threshold)
    if found.ranks is None:
        return _undefined(found, iou, found.reason)
    metrics = rank_metrics(found.ranks)
    area = integrate_overlap(found.ranks, aupro_limit)
    aupro = float((found.lift * area).sum() / aupro_limit)
    return _defined(found, metrics, aupro, iou, {}, _cut(found.ranks, cuts))


def read_histogram(histogram: PixelHistogram, *, aupro_limit: float = AUPRO_LIMIT, cuts: int = 0) -> PixelMetrics:
    """The metrics of everything that a histogram has counted; `cuts` as in `pixel_metrics`.

    Raises:
        ValueError: If the limit is out of range.
    """
    _check_limit(aupro_limit)
    iou = _overlap(histogram, histogram.threshold)
    constant = histogram.least.key == histogram.greatest.key
    reason = undefined_reason(histogram.defect_pixels, histogram.pixels, constant)
    if reason and constant and histogram.rounded:
        reason = "all scores are equal in single precision: engine=exact tells them apart"
    if reason:
        return _undefined(histogram, iou, reason)
    bins = rank_bins(histogram)
    metrics = rank_metrics(bins.ranks)
    aupro = float((bins.lift * integrate_overlap(bins.ranks, aupro_limit)).sum() / aupro_limit)
    assert metrics.auroc is not None and metrics.ap is not None and metrics.f1_max is not None
    figures = {"auroc": metrics.auroc, "ap": metrics.ap, "f1_max": metrics.f1_max, "aupro": aupro}
    brackets = bracket_figures(bins, figures, aupro_limit)
    return _defined(histogram, metrics, aupro, iou, brackets, _cut(bins.ranks, cuts))


def _cut(ranks: RankCounts, cuts: int) -> NDArray[np.float64]:
    return choose_cuts(ranks, cuts) if cuts else np.empty(0)


def _check_limit(limit: float) -> None:
    if not 0 < limit <= 1:
        raise ValueError(f"aupro_limit must be in (0, 1], not {limit}.")


def _overlap(found: ExactCounts | PixelHistogram, threshold: float | None) -> float | None:
    union = found.defect_pixels + found.flagged - found.hits
    return found.hits / union if threshold is not None and union else None


def _undefined(found: ExactCounts | PixelHistogram, iou: float | None, reason: str | None) -> PixelMetrics:
    return PixelMetrics(
        reason=reason,
        iou=iou,
        brackets={},
        defect_pixels=found.defect_pixels,
        pixels=found.pixels,
        images=found.images,
    )


def _defined(
    found: ExactCounts | PixelHistogram,
    metrics: RankingMetrics,
    aupro: float,
    iou: float | None,
    brackets: dict[str, Bracket],
    cuts: NDArray[np.float64],
) -> PixelMetrics:
    return PixelMetrics(
        auroc=metrics.auroc,
        ap=metrics.ap,
        f1_max=metrics.f1_max,
        f1_threshold=metrics.f1_threshold,
        aupro=aupro,
        iou=iou,
        brackets=brackets,
        defect_pixels=found.defect_pixels,
        pixels=found.pixels,
        images=found.images,
        cuts=cuts,
    )
