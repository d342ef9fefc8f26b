"""What each image of a category adds to its figures, small enough to be kept: pixels by score, in a few hundred bins.

Shape legend: n images, B bins, R weightings of the images.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from eval.metrics.ranking import overlap_area
from eval.metrics.scores import ScoredImage, find_regions

Weights = NDArray[np.float64]  # (R, n)
ROWS = ("pixels", "defects", "overlap", "regions", "scores", "defective")  # fields with one row an image
PIXEL = ("pixel_auroc", "pixel_ap", "pixel_f1_max", "pixel_aupro")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """The images of one category, each by itself.

    Attributes:
        ids: Sample ids, n.
        cuts: Least score of each bin but the first, (B - 1,); all arrays of pixels have no bin where it is empty.
        pixels: Pixels in each bin, (n, B) uint32.
        defects: Those on a defect, (n, B) uint32.
        overlap: Sum over those of 1 / area of their region, (n, B) float32.
        regions: Defect regions, (n,) int64.
        scores: Image scores, (n,) float64.
        defective: Whether the image shows a defect, (n,) bool.
    """

    ids: tuple[str, ...]
    cuts: NDArray[np.float64]
    pixels: NDArray[np.uint32]
    defects: NDArray[np.uint32]
    overlap: NDArray[np.float32]
    regions: NDArray[np.int64]
    scores: NDArray[np.float64]
    defective: NDArray[np.bool_]

    def sorted(self) -> Tally:
        """The same images in the order of their ids."""
        order = np.argsort(np.array(self.ids, object))
        rows = {name: getattr(self, name)[order] for name in ROWS}
        return replace(self, ids=tuple(self.ids[index] for index in order), **rows)


@dataclass(frozen=True, slots=True)
class Counted:
    """The pixels of one image: see `Tally`, without its first dimension."""

    pixels: NDArray[np.uint32]
    defects: NDArray[np.uint32]
    overlap: NDArray[np.float32]
    regions: int

    @classmethod
    def nothing(cls) -> Counted:
        """Of an image whose pixels are not scored: no bin."""
        return cls(np.zeros(0, np.uint32), np.zeros(0, np.uint32), np.zeros(0, np.float32), 0)


def count_image(image: ScoredImage, cuts: NDArray[np.float64]) -> Counted:
    """Counts the pixels of an image between the cuts of its category; nothing where there are no cuts."""
    if not len(cuts):
        return Counted.nothing()
    bins, found = len(cuts) + 1, find_regions(image.mask)
    place = np.searchsorted(cuts, image.anomaly_map.reshape(-1), side="right")
    on_defect = place[found.index] if found else np.empty(0, np.intp)
    share = 1 / found.area if found else np.empty(0)
    return Counted(
        np.bincount(place, minlength=bins).astype(np.uint32),
        np.bincount(on_defect, minlength=bins).astype(np.uint32),
        np.bincount(on_defect, weights=share, minlength=bins).astype(np.float32),
        found.count if found else 0,
    )


def stack_counts(
    ids: Sequence[str],
    counts: Iterable[Counted],
    cuts: NDArray[np.float64],
    scores: Sequence[float],
    defective: Sequence[bool],
) -> Tally:
    """The tally of a category from the counts of its images, all in the order of `ids`."""
    listed = list(counts)
    return Tally(
        ids=tuple(ids),
        cuts=cuts,
        pixels=np.stack([one.pixels for one in listed]),
        defects=np.stack([one.defects for one in listed]),
        overlap=np.stack([one.overlap for one in listed]),
        regions=np.array([one.regions for one in listed], np.int64),
        scores=np.asarray(scores, np.float64),
        defective=np.asarray(defective, bool),
    )


def tally_figures(tally: Tally, weights: Weights, limit: float) -> dict[str, NDArray[np.float64]]:
    """Every metric of a category for many weightings of its images at once.

    Args:
        tally: The images.
        weights: How often each image counts, (R, n).
        limit: Upper limit of the false-positive rate in AUPRO.

    Returns:
        Metric → (R,) in percent, NaN where it has no value. Pixel metrics take the scores of a bin as ties, so they
        come close to the exact ones; image metrics are exact.
    """
    order = np.argsort(tally.scores, kind="stable")
    first = np.flatnonzero(np.r_[True, np.diff(tally.scores[order]) != 0])
    is_defect = tally.defective[order]
    images = [np.add.reduceat(weights[:, order] * kind, first, axis=1) for kind in (is_defect, ~is_defect)]
    found = {f"image_{name}": values for name, values in _figures(*images).items()}
    if len(tally.cuts):
        defects = weights @ tally.defects
        others = weights @ (tally.pixels.astype(np.float64) - tally.defects)
        found |= {f"pixel_{name}": values for name, values in _figures(defects, others).items()}
        with np.errstate(divide="ignore", invalid="ignore"):
            lift = (weights @ tally.overlap) / (weights @ tally.regions)[:, None]
        found["pixel_aupro"] = (lift * _overlap_areas(others, limit)).sum(1) / limit
    else:
        found |= {name: np.full(len(weights), np.nan) for name in PIXEL}
    return {name: 100 * values for name, values in found.items()}


def _figures(defects: NDArray[np.float64], others: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """AUROC, AP and F1-max of counts by increasing score, each (R, bins) → (R,)."""
    hits, alarms = _at_or_above(defects), _at_or_above(others)
    total, rest = hits[:, :1], alarms[:, :1]
    with np.errstate(divide="ignore", invalid="ignore"):
        pairs = defects * (rest - alarms + others / 2)
        precision = np.where(defects > 0, hits / (hits + alarms), 0.0)
        f1 = 2 * hits / (hits + alarms + total)
        values = {
            "auroc": (pairs / (total * rest)).sum(1),
            "ap": (defects * precision / total).sum(1),
            "f1_max": f1.max(1),
        }
    known = ((total > 0) & (rest > 0))[:, 0]
    return {name: np.where(known, value, np.nan) for name, value in values.items()}


def _overlap_areas(others: NDArray[np.float64], limit: float) -> NDArray[np.float64]:
    """Area under the PRO curve that one unit of overlap adds in each bin, (R, B)."""
    alarms = _at_or_above(others)
    with np.errstate(divide="ignore", invalid="ignore"):
        return overlap_area((alarms - others) / alarms[:, :1], alarms / alarms[:, :1], limit)


def _at_or_above(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    return counts[:, ::-1].cumsum(1)[:, ::-1]
