"""The streaming engine of the pixel metrics: a histogram of scores in constant memory, with a bracket for each figure.

Every score is seen once and only counted (`eval.metrics.keys`). Within a bin the order of the scores is lost, so each
figure is an estimate between two certain ends: the worst and the best order that the counts allow. Bins are cells of
one fixed grid over the bits of float32, coarsened just enough for the range seen so far, and all sums are integers;
hence neither the order of the images nor how they are shared out over processes changes a single bit.

Maps saturate at their ends, where many scores are truly equal; the least and the greatest score are therefore
counted on their own, and known to be ties. A bin that covers one single score is known to hold ties too.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from data.errors import UserError
from eval.metrics.keys import (
    BINS,
    Scores,
    Table,
    count_keys,
    keys_of,
    scores_of,
    weigh_keys,
)
from eval.metrics.scores import ScoredImage, check_image, find_regions, nan_error

UNIT = 1 << 44  # weight of one region; a pixel carries UNIT / area, rounded
REGION_LIMIT = 1 << 18  # so many regions fit into one bin without overflow
TABLES = ("scores", "defects", "weights")


@dataclass(slots=True)
class End:
    """What lies exactly at the least or at the greatest score: pixels, defect pixels, weight of those."""

    key: int | None = None
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(3, np.int64))

    def add(self, key: int, counts: NDArray[np.int64], *, least: bool) -> None:
        """Takes in another end; the more extreme one counts."""
        if self.key is None or (key < self.key if least else key > self.key):
            self.key, self.counts = key, counts.copy()
        elif key == self.key:
            self.counts = self.counts + counts


@dataclass(slots=True)
class PixelHistogram:
    """One accumulator: add images one by one, merge accumulators, read the metrics at any time.

    Attributes:
        threshold: Scores at or above it are counted as flagged; None counts none.
        shift: The lowest `shift` bits of a key are not told apart.
        rounded: Whether a float64 score was rounded to float32: then equal keys need not be ties.
        scores: Pixels per bin, (BINS,).
        defects: Defect pixels per bin, (BINS,).
        weights: Sum over the defect pixels of a bin of UNIT / area of their region, (BINS,).
        least: What lies at the least score.
        greatest: What lies at the greatest score.
        pixels: Number of pixels.
        defect_pixels: Number of defect pixels.
        regions: Number of regions.
        images: Number of images.
        flagged: Pixels at or above the threshold.
        hits: Defect pixels at or above the threshold.
    """

    threshold: float | None = None
    shift: int = 0
    rounded: bool = False
    scores: Table = field(default_factory=lambda: np.zeros(BINS, np.int64), repr=False)
    defects: Table = field(default_factory=lambda: np.zeros(BINS, np.int64), repr=False)
    weights: Table = field(default_factory=lambda: np.zeros(BINS, np.int64), repr=False)
    least: End = field(default_factory=End)
    greatest: End = field(default_factory=End)
    pixels: int = 0
    defect_pixels: int = 0
    regions: int = 0
    images: int = 0
    flagged: int = 0
    hits: int = 0

    def add(self, image: ScoredImage) -> None:
        """Counts one image; float64 maps are rounded to float32.

        Raises:
            UserError: If the map has a NaN, is not floating point, or differs in shape from its mask; nothing is
                counted then.
        """
        check_image(image)
        scores = _single(image.anomaly_map)
        ends = np.array([scores.min(), scores.max()])
        if np.isnan(ends[0]):  # a minimum propagates NaN
            raise nan_error(image.anomaly_map, image.name)
        low, high = keys_of(ends).tolist()
        found = find_regions(image.mask)
        defects = scores[found.index] if found else np.empty(0, np.float32)
        weights = (UNIT + found.area // 2) // found.area if found else np.empty(0, np.int64)
        regions = found.count if found else 0
        self._check_regions(regions, image.name)
        self._cover(low, high)
        if self.least.key is None or low <= self.least.key:
            self.least.add(low, _at(_score(low), scores, defects, weights), least=True)
        if self.greatest.key is None or high >= self.greatest.key:
            self.greatest.add(high, _at(_score(high), scores, defects, weights), least=False)
        count_keys(scores, self.shift, self.scores)
        weigh_keys(defects, weights, self.shift, self.defects, self.weights)
        self.rounded |= image.anomaly_map.dtype.itemsize > 4 and not np.array_equal(scores, image.anomaly_map.ravel())
        self.pixels += scores.size
        self.defect_pixels += len(defects)
        self.regions += regions
        self.images += 1
        if self.threshold is not None:
            above = image.anomaly_map >= self.threshold
            self.flagged += int(np.count_nonzero(above))
            self.hits += int(np.count_nonzero(above & image.mask))

    def merge(self, other: PixelHistogram) -> None:
        """Adds what another accumulator counted, for example on another rank.

        Raises:
            ValueError: If the thresholds differ.
        """
        if self.threshold != other.threshold:
            raise ValueError(f"Thresholds {self.threshold} and {other.threshold} differ: count with one threshold.")
        if other.least.key is None or other.greatest.key is None:
            return
        self._check_regions(other.regions, "the merged histogram")
        self._cover(other.least.key, other.greatest.key, other.shift)
        self.least.add(other.least.key, other.least.counts, least=True)
        self.greatest.add(other.greatest.key, other.greatest.counts, least=False)
        for name in TABLES:
            places, values = other.cells(name)
            np.add.at(getattr(self, name), (places >> (self.shift - other.shift)) & (BINS - 1), values)
        self.rounded |= other.rounded
        self.pixels += other.pixels
        self.defect_pixels += other.defect_pixels
        self.regions += other.regions
        self.images += other.images
        self.flagged += other.flagged
        self.hits += other.hits

    def below(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Number of pixels in the bins below each of some bins (key >> shift), (n,)."""
        assert self.least.key is not None
        first = (self.least.key >> self.shift) & (BINS - 1)
        total = np.cumsum(self.scores)
        index = places & (BINS - 1)
        before = total[index] - self.scores[index] - (total[first - 1] if first else 0)
        return np.where(index < first, before + self.pixels, before)

    def cells(self, name: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The bins of a table that are not empty, in increasing order of score: key >> shift, and the count."""
        if self.least.key is None:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        table: Table = getattr(self, name)
        first = self.least.key >> self.shift
        filled = np.flatnonzero(table)
        places = first + ((filled - first) & (BINS - 1))
        split = int(np.searchsorted(filled, first & (BINS - 1)))  # bins wrap round: the lowest score is not in bin 0
        return np.roll(places, -split), np.roll(table[filled], -split)

    def _cover(self, low: int, high: int, shift: int = 0) -> None:
        """Coarsens the bins until the keys seen so far and low..high fit."""
        old = self.least.key, self.greatest.key
        low = low if old[0] is None else min(low, old[0])
        high = high if old[1] is None else max(high, old[1])
        shift = max(shift, self.shift)
        while (high >> shift) - (low >> shift) >= BINS:
            shift += 1
        if shift == self.shift:
            return
        if old[0] is not None:
            for name in TABLES:
                places, values = self.cells(name)
                table: Table = getattr(self, name)
                table[:] = 0
                np.add.at(table, (places >> (shift - self.shift)) & (BINS - 1), values)
        self.shift = shift

    def _check_regions(self, more: int, name: str) -> None:
        if self.regions + more > REGION_LIMIT:
            raise UserError(f"More than {REGION_LIMIT} defect regions at {name}: use engine=exact for this category.")


def _single(anomaly_map: NDArray[np.floating]) -> Scores:
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(anomaly_map, np.float32).reshape(-1)


def _score(key: int) -> float:
    return float(scores_of(np.array([key]))[0])


def _at(
    edge: float, scores: NDArray[np.float32], defects: NDArray[np.float32], weights: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Pixels, defect pixels and weight of those at one score."""
    inside = defects == edge
    return np.array([np.count_nonzero(scores == edge), np.count_nonzero(inside), weights[inside].sum()], np.int64)
