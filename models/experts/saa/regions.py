"""Boxes that a text found, what is kept of them, and the anomaly map of what is left (SAA+, Sec. 3.3 and 3.4).

Shapes: N boxes; boxes (N, 4) xyxy as shares of width and height; image (H, W).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data.sample import MaskArray
from models.experts.expert import MapArray

SALIENCY_WEIGHT = 3.0  # in the exponent


@dataclass(frozen=True, slots=True)
class Regions:
    """Boxes that texts found.

    Attributes:
        boxes: (N, 4), xyxy, shares of the image's width and height.
        scores: (N,), how well each fits its text, 0..1.
        phrases: The words of the text that each fits.
    """

    boxes: Tensor
    scores: Tensor
    phrases: tuple[str, ...]

    def __len__(self) -> int:
        """How many boxes there are."""
        return len(self.phrases)

    @property
    def areas(self) -> Tensor:
        """(N,), shares of the image."""
        return (self.boxes[:, 2] - self.boxes[:, 0]) * (self.boxes[:, 3] - self.boxes[:, 1])

    def smaller_than(self, area: float) -> Regions:
        """Those that are not empty and smaller than a share of the image."""
        areas = self.areas
        return self._take(((areas > 0) & (areas < area)).tolist())

    def without(self, word: str) -> Regions:
        """Those whose phrase does not hold a word: a box that fits the object's name shows the object, not a defect."""
        return self._take([word.lower() not in phrase.lower() for phrase in self.phrases])

    def _take(self, keep: list[bool]) -> Regions:
        indices = torch.tensor([index for index, kept in enumerate(keep) if kept], dtype=torch.long)
        chosen = indices.to(self.boxes.device)
        return Regions(
            self.boxes[chosen], self.scores[chosen], tuple(self.phrases[index] for index in indices.tolist())
        )


def keep_objects(found: Regions, objects: int) -> Regions:
    """Boxes of objects: smaller than 1/n of the image."""
    return found.smaller_than(1 / objects)


def keep_defects(found: Regions, objects: Regions, area: float, name: str) -> Regions:
    """Boxes of defects: smaller than a share of the largest object's box, or of the image where no object was found.

    Args:
        found: Of the texts for defects.
        objects: Of the object's name, filtered.
        area: The share.
        name: The object's name, which must not be in their phrases.
    """
    largest = float(objects.areas.max()) if len(objects) else 1.0
    return found.smaller_than(area * largest).without(name)


def rescore(score: float, mask: MaskArray, saliency: MapArray) -> float:
    """A score, raised by the mean saliency in its mask; an empty mask keeps it."""
    return score * float(np.exp(SALIENCY_WEIGHT * saliency[mask].mean())) if mask.any() else score


class BestRegions:
    """The K best of many scored masks, without keeping the others.

    Args:
        count: K.
        size: Height and width of the image.
    """

    def __init__(self, count: int, size: tuple[int, int]) -> None:
        self.count, self.size = count, size
        self.kept: list[tuple[float, MaskArray]] = []

    def add(self, score: float, mask: MaskArray) -> None:
        """Takes one more; of equal scores the earlier one is kept."""
        self.kept = sorted([*self.kept, (score, mask)], key=lambda pair: -pair[0])[: self.count]

    def merge(self) -> MapArray:
        """The anomaly map, (H, W): Σ mask · score / (1 + Σ mask), zero where nothing was found."""
        total: NDArray[np.float64] = np.zeros(self.size)
        masks: NDArray[np.float64] = np.zeros(self.size)
        for score, mask in self.kept:
            total += mask * score
            masks += mask
        return np.asarray(total / (1 + masks), np.float32)
