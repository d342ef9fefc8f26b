"""Figures that publications read off a fixed set of thresholds: AUPRO as most of them compute it, and ADer's mean F1.

Both lay their thresholds evenly between the least and the greatest score of a category, so unlike every other figure
here they change when all scores are put through a rising function: one very high pixel moves every threshold.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from eval.metrics.scores import ScoredImage, check_image, find_regions, map_range

LEGACY_STEPS = 200
LEGACY_LIMIT = 0.3
F1_SHARES = np.arange(2, 9) / 10  # ADer: .2, .3, … .8 of the way from the least to the greatest score
LEGACY_WARNING = (
    "AUPRO, legacy (200 evenly laid thresholds, false-positive rates below 0.3, rescaled by their own least and "
    "greatest) is what most publications print; it is not comparable with the exact AUPRO beside it"
)


@dataclass(frozen=True, slots=True)
class Flagged:
    """What is flagged at T thresholds.

    Attributes:
        overlap: Mean over all defect regions of the share that is flagged, (T,).
        alarms: Share of the sound pixels that is flagged, (T,).
        f1: Of all pixels, (T,).
    """

    overlap: NDArray[np.float64]
    alarms: NDArray[np.float64]
    f1: NDArray[np.float64]


def legacy_aupro(images: Iterable[ScoredImage]) -> float | None:
    """AUPRO as AnoVL, AnomalyCLIP, APRIL-GAN and ADer compute it.

    Of `LEGACY_STEPS` thresholds, at which a score has to be above, those with a false-positive rate below
    `LEGACY_LIMIT` are kept; their rates are rescaled to 0..1 by their own least and greatest, and the trapezoids below
    the overlap are added up. Where few thresholds remain (a few very high scores), little is left of the curve.

    Args:
        images: Of one category; iterated twice.

    Returns:
        0..1; None where it has no value: no defect, no sound pixel, or kept rates that are all equal.
    """
    low, high = _ends(images)
    found = flag(images, low + (high - low) * np.arange(LEGACY_STEPS) / LEGACY_STEPS, strictly=True)
    if found is None:
        return None
    kept = found.alarms < LEGACY_LIMIT
    rates, overlap = found.alarms[kept][::-1], found.overlap[kept][::-1]
    if not kept.any() or rates[0] == rates[-1]:
        return None
    return float(np.trapezoid(overlap, (rates - rates[0]) / (rates[-1] - rates[0])))


def mean_f1(images: Iterable[ScoredImage]) -> float | None:
    """Mean of the pixel F1 at `F1_SHARES` of the scores' range (ADer); None without defect or sound pixel.

    Args:
        images: Of one category; iterated twice.
    """
    low, high = _ends(images)
    found = flag(images, low + (high - low) * F1_SHARES, strictly=False)
    return None if found is None else float(found.f1.mean())


def flag(images: Iterable[ScoredImage], thresholds: NDArray[np.float64], *, strictly: bool) -> Flagged | None:
    """Counts what is flagged at each threshold; None without defect or sound pixel.

    Args:
        images: Of one category.
        thresholds: In increasing order, (T,).
        strictly: Whether a flagged score lies above the threshold, or also on it.
    """
    side: Literal["left", "right"] = "left" if strictly else "right"
    size = len(thresholds) + 1
    sound, defect, overlap, regions = np.zeros(size, np.int64), np.zeros(size, np.int64), np.zeros(size), 0
    for image in images:
        places = np.searchsorted(thresholds, image.anomaly_map.reshape(-1), side)  # thresholds below each score
        counts = np.bincount(places, minlength=size)
        if found := find_regions(image.mask):
            inside = places[found.index]
            hits = np.bincount(inside, minlength=size)
            defect, counts = defect + hits, counts - hits
            overlap += np.bincount(inside, 1 / found.area, size)
            regions += found.count
        sound += counts
    if not regions or not sound.sum():
        return None
    found_defect, alarms, share = (_above(counts) for counts in (defect, sound, overlap))
    f1 = 2 * found_defect / (found_defect + alarms + defect.sum())
    return Flagged(share / regions, alarms / sound.sum(), f1)


def _above(counts: NDArray[np.generic]) -> NDArray[np.float64]:
    """Counts by number of thresholds below a score → how many lie above each threshold."""
    return np.asarray(counts[::-1].cumsum()[::-1][1:], np.float64)


def _ends(images: Iterable[ScoredImage]) -> tuple[float, float]:
    low, high = np.inf, -np.inf
    for image in images:
        check_image(image)
        least, greatest = map_range(image.anomaly_map, image.name)
        low, high = min(low, least), max(high, greatest)
    return (low, high) if np.isfinite([low, high]).all() else (0.0, 0.0)
