"""Where an anomaly map is strongest and where the true defect is, in the words of the 3×3 grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.ddqa.regions import region_of, region_pixels
from data.masks import defect_regions
from data.sample import MaskArray, Sample

STRONGEST = 0.005  # share of the pixels that count as the strongest, as for the image score


@dataclass(frozen=True, slots=True)
class Look:
    """A map and its true mask, as far as words can tell of them.

    Attributes:
        peak: Highest value of the map.
        strongest: Region that holds most of its strongest pixels; None where all are equal.
        region: Region of the centroid of the largest true mark: RDL's right answer; None without a mark.
        touched: Regions that hold any pixel of the defect.
    """

    peak: float
    strongest: str | None
    region: str | None = None
    touched: frozenset[str] = frozenset()


def look_at(sample: Sample, anomaly_map: NDArray[np.floating], truth: MaskArray) -> Look:
    """Looks at a map and its mask.

    Args:
        sample: Whose they are.
        anomaly_map: (H, W), higher is worse.
        truth: (H, W) bool, True on the defect.
    """
    peak, strongest = float(anomaly_map.max()), strongest_region(anomaly_map)
    if sample.is_normal or sample.mask is None or not truth.any():
        return Look(peak, strongest)
    largest = defect_regions(sample.mask, truth)[0]
    touched = frozenset(name for name, pixels in region_pixels(truth).items() if pixels)
    return Look(peak, strongest, region_of(largest.centroid, (truth.shape[0], truth.shape[1])), touched)


def strongest_region(anomaly_map: NDArray[np.floating]) -> str | None:
    """The region that holds most of the strongest 0.5 % of the pixels; None where all are equal.

    Pixels at the least value of the map are none of them, however few are above it.
    """
    lowest = anomaly_map.min()
    if lowest == anomaly_map.max():
        return None
    count = max(1, round(STRONGEST * anomaly_map.size))
    least = np.partition(anomaly_map.reshape(-1), -count)[-count]
    counts = region_pixels((anomaly_map >= least) & (anomaly_map > lowest))
    return max(counts, key=lambda name: counts[name])
