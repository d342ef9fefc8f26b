"""From an anomaly map to the places that stand out in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from data.ddqa.regions import region_of
from data.masks import Region, components
from data.sample import MaskArray
from models.contour import ContourConfig, find_mask

PEAK = 0.8  # of the way from a map's median to its top


@dataclass(frozen=True, slots=True)
class Places:
    """What stands out.

    Attributes:
        mask: (H, W) bool, True on all of it.
        regions: Its 8-connected regions, largest first.
    """

    mask: MaskArray
    regions: Sequence[Region]

    @property
    def names(self) -> list[str]:
        """For each region the one of the nine parts of the image that holds its middle."""
        return [region_of(region.centroid, self.mask.shape) for region in self.regions]

    def only(self, index: int) -> MaskArray:
        """(H, W) bool: one region alone."""
        x0, y0, x1, y1 = self.regions[index].box
        _, labels = cv2.connectedComponents(self.mask[y0:y1, x0:x1].astype(np.uint8), connectivity=8)
        areas = np.bincount(labels.ravel())
        areas[0] = 0
        alone = np.zeros_like(self.mask)
        whole = [
            label
            for label in np.flatnonzero(areas == self.regions[index].area)
            if cv2.boundingRect((labels == label).astype(np.uint8)) == (0, 0, x1 - x0, y1 - y0)
        ]
        alone[y0:y1, x0:x1] = labels == whole[0]
        return alone

    def keep(self, indices: Sequence[int]) -> MaskArray:
        """(H, W) bool: some of the regions."""
        if len(indices) == len(self.regions):
            return self.mask
        kept = np.zeros_like(self.mask)
        for index in indices:
            kept |= self.only(index)
        return kept


def find_places(anomaly_map: NDArray[np.floating], threshold: float, min_area: float, *, peak: bool) -> Places:
    """The regions of a map at or above a threshold.

    Args:
        anomaly_map: (H, W), higher is worse.
        threshold: In the map's units.
        min_area: Regions smaller than this share of the image are dropped as specks.
        peak: Where none is left, take what lies around the map's highest point: of an image that is flagged as a
            whole, it is where to look.
    """
    mask = find_mask(anomaly_map, ContourConfig(threshold=threshold, min_area=min_area))
    if peak and not mask.any():
        mask = _peak(anomaly_map)
    return Places(mask, components(mask) if mask.any() else [])


def _peak(anomaly_map: NDArray[np.floating]) -> MaskArray:
    """The region around the highest point; empty where the map is flat."""
    top, middle = float(anomaly_map.max()), float(np.median(anomaly_map))
    if not top > middle:
        return np.zeros(anomaly_map.shape, bool)
    high = (anomaly_map >= middle + PEAK * (top - middle)).astype(np.uint8)
    _, labels = cv2.connectedComponents(high, connectivity=8)
    return np.asarray(labels == labels[np.unravel_index(int(anomaly_map.argmax()), anomaly_map.shape)])
