"""What every vision expert is: images in, one anomaly map and one score each out (VELM, Sec. 3.1)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from data.sample import ImageArray, Sample

MapArray = NDArray[np.float32]  # (H, W), higher is worse


@dataclass(frozen=True, slots=True)
class Gate:
    """Where normal ends, for one category, in the units of its expert.

    Attributes:
        score: An image that scores below is normal, and the MLLM is never asked.
        pixel: A pixel of the anomaly map at or above it belongs to the anomaly; what the contour is drawn from.
    """

    score: float
    pixel: float


@dataclass(frozen=True, slots=True)
class Detection:
    """What an expert says about one image.

    Attributes:
        anomaly_map: (H, W) of the image, float32, higher is worse, finite; the range is the expert's own.
        score: Anomaly score of the image, higher is worse.
        gate: Where normal ends for its category.
    """

    anomaly_map: MapArray
    score: float
    gate: Gate

    @property
    def is_normal(self) -> bool:
        """Whether the gate lets the image pass as `good`."""
        return self.score < self.gate.score


class Expert(Protocol):
    """A vision expert.

    `sees_truth` tells experts that look at the annotation (the oracle) from those that only see the image: a table
    must say so. `gates` tells where normal ends, by category.
    """

    name: str
    sees_truth: bool

    @property
    def gates(self) -> Mapping[str, Gate]:
        """Gate of each category that the expert knows."""

    def check(self, categories: Sequence[str]) -> None:
        """Refuses categories that the expert was not fitted for.

        Raises:
            UserError: Naming them and what is fitted.
        """

    def detect(self, samples: Sequence[Sample], images: Sequence[ImageArray]) -> list[Detection]:
        """Looks at a batch of images.

        Args:
            samples: What they are: category and id; the mask is for the oracle alone.
            images: Their pixels, (H, W, 3) uint8 RGB, of any sizes.

        Raises:
            UserError: If the expert was not fitted for a category, or has no map of an image.
        """


class Fitted(Protocol):
    """An expert with one fit and one gate a category."""

    gates: dict[str, Gate]

    def check(self, categories: Sequence[str]) -> None:
        """See `Expert.check`."""

    def score(self, category: str, images: Sequence[ImageArray]) -> Sequence[tuple[MapArray, float]]:
        """Map and score of images of one category."""


def detect_by_category(expert: Fitted, samples: Sequence[Sample], images: Sequence[ImageArray]) -> list[Detection]:
    """`Expert.detect` of an expert that scores the images of one category at a time; keeps their order."""
    expert.check([sample.category for sample in samples])
    by_category: dict[str, list[int]] = defaultdict(list)
    for index, sample in enumerate(samples):
        by_category[sample.category].append(index)
    found: dict[int, Detection] = {}
    for category, indices in by_category.items():
        scored = expert.score(category, [images[index] for index in indices])
        for index, (anomaly_map, score) in zip(indices, scored, strict=True):
            found[index] = Detection(anomaly_map, score, expert.gates[category])
    return [found[index] for index in range(len(samples))]
